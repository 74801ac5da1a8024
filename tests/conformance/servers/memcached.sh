# memcached over TCP, UDP's port and a unix socket.
cd /tmp
memcached -u nobody -p 11211 -U 11211 -d -P /tmp/memcached.pid
until nc -z 127.0.0.1 11211; do sleep 0.05; done
printf 'set a 0 0 5\r\nhello\r\nget a\r\nincr b 1\r\nquit\r\n' | nc -N 127.0.0.1 11211
printf '\0\1\0\0\0\1\0\0get a\r\n' | nc -u -w1 127.0.0.1 11211 | tail -c +9
memcached -u nobody -s /tmp/memcached.sock -a 777 -d; until [ -S memcached.sock ]; do sleep 0.05; done
printf 'set a 0 0 5\r\nworld\r\nget a\r\nquit\r\n' | nc -NU memcached.sock
seq 200 | xargs -P 8 -I{} sh -c 'printf "set k{} 0 0 3\r\nabc\r\nget k{}\r\nquit\r\n" | nc -N 127.0.0.1 11211' | sort | uniq -c | awk '$1 == 200'
pkill memcached; wait; echo ended
