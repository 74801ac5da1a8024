# What ss, ip and ping show.
cd /tmp; exec 2>&1
python3 - <<'P'
import re, socket, subprocess
def listening(family, name, kind=socket.SOCK_STREAM, only=0):
    s = socket.socket(family, kind)
    if only:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind(name)
    if kind == socket.SOCK_STREAM:
        s.listen(5)
    return s
a = listening(socket.AF_INET, ('127.0.0.1', 1111)); b = listening(socket.AF_INET6, ('::', 2222)); c = listening(socket.AF_INET6, ('::', 3333), only=1)
d = listening(socket.AF_INET, ('0.0.0.0', 53), socket.SOCK_DGRAM); g = listening(socket.AF_UNIX, '/tmp/s'); h = listening(socket.AF_UNIX, '\0abstract')
e = socket.socket(); e.bind(('127.0.0.1', 4444)); e.connect(('127.0.0.1', 1111)); f, _ = a.accept()
i = socket.socket(socket.AF_UNIX); i.connect('/tmp/s')
f.send(b'hello')
for command in ('ss -Htln | sort', 'ss -tn state established sport = 1111', 'ss -Huan', 'ss -Hxl', 'ss -Htnp sport = 1111', 'ss -tn dport = 1111 | wc -l',
                'ss -s | tail -n +3', 'ss -Hxn | wc -l', 'ss -Hwan', 'ss -Hlntu "( sport = :1111 or sport = :53 )" | sort', 'ss -Htn dst 127.0.0.2'):
    out = subprocess.run(command, shell=True, capture_output=True, text=True)
    text = re.sub(r'pid=\d+', 'pid', out.stdout + out.stderr)
    print('$', command); print(re.sub(r'(/tmp/s|@abstract) +\d+ +', r'\1 N ', re.sub(r' +', ' ', text)))
P
# Natively eth0 is one end of a pair, and ip says of which.
show() { echo "$ $*"; sh -c "$*" 2>&1 | sed -E 's/@if[0-9]+//; s/ link-netnsid [0-9]+//; s/ +/ /g'; }
show ip -br addr; show ip addr; show ip -4 route; show ip -6 route; show ip route show table local; show ip -6 route show table all
show ip rule; show ip -6 rule; show ip neigh; show ip link; show ip route get 127.0.0.1; show ip route get 10.116.99.9; show ip route get 10.0.0.1
show "ping -q -c2 -i0.2 127.0.0.1 | head -4 | sed 's/time .*//'"
show "ping -c1 -s 3000 ::1 | head -2 | sed 's/time=.*//'"; show ping -c1 -W1 10.9.9.9
show nc -z 127.0.0.1 9; show nc -zu -w1 127.0.0.1 9; show "getent ahosts localhost | head -1"
