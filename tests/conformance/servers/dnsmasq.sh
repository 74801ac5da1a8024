# dnsmasq over UDP and TCP, with the resolver of libc.
cd /tmp
dnsmasq --port 53 --no-resolv --no-hosts --address=/a.test/10.1.2.3 --address=/a.test/fd00::1 --pid-file=/tmp/dnsmasq.pid --user=nobody \
  --log-facility=/tmp/dnsmasq.log --txt-record=t.test,hi --host-record=h.test,10.9.8.7
echo nameserver 127.0.0.1 > /etc/resolv.conf
python3 - <<'P'
import socket, struct
def ask(name, kind, tcp=False, host='127.0.0.1'):
    message = struct.pack('>HHHHHH', 7, 0x100, 1, 0, 0, 0) + b''.join(bytes([len(p)]) + p for p in name.encode().split(b'.'))
    message += b'\0' + struct.pack('>HH', kind, 1)
    if tcp:
        with socket.create_connection((host, 53)) as s:
            s.sendall(struct.pack('>H', len(message)) + message)
            reply = s.recv(4096)[2:]
    else:
        with socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(5)
            s.connect((host, 53))
            s.send(message)
            reply = s.recv(4096)
    print(name, kind, reply.hex())
ask('a.test', 1); ask('a.test', 28); ask('a.test', 1, True); ask('t.test', 16); ask('a.test', 1, False, '::1'); ask('none.example', 1)
print(sorted(a[4][0] for a in socket.getaddrinfo('a.test', 80, type=socket.SOCK_STREAM)))
print(socket.gethostbyname('h.test'), socket.gethostbyaddr('10.9.8.7')[0])
P
getent ahostsv4 h.test; kill "$(cat dnsmasq.pid)"
getent hosts h.test; echo nobody answers: $?
