# nginx with two workers: files by curl over IPv4 and IPv6, through itself as a proxy, many requests by wrk, a reload.
cd /tmp; mkdir www; head -c 1024 /dev/zero | tr '\0' x > www/1k; head -c 5000000 /dev/urandom > www/big
cat > nginx.conf <<'N'
worker_processes 2; daemon off; pid /tmp/nginx.pid; error_log /tmp/nginx.err info;
events { worker_connections 1000; }
http {
  access_log /tmp/access.log; sendfile on; tcp_nopush on;
  server { listen 8080; listen [::]:8080; listen unix:/tmp/nginx.sock; root /tmp/www; location /p/ { proxy_pass http://127.0.0.1:8080/; } }
}
N
nginx -c /tmp/nginx.conf 2> /dev/null &
until curl -s -o /dev/null http://127.0.0.1:8080/1k; do sleep 0.05; done
curl -s http://127.0.0.1:8080/1k | md5sum
curl -s 'http://[::1]:8080/big' | cmp - www/big && echo over IPv6
curl -s http://localhost:8080/p/big | cmp - www/big && echo through a proxy
curl -s --unix-socket nginx.sock http://any/big | cmp - www/big && echo over a unix socket
curl -sI http://localhost:8080/none | head -1
curl -s -r 100-199 http://localhost:8080/big | cmp - <(tail -c +101 www/big | head -c 100) && echo a range
wrk -t2 -c50 -d1 http://127.0.0.1:8080/1k > wrk.out; grep -c 'Requests/sec' wrk.out; grep -E 'Non-2xx|Socket errors' wrk.out
nginx -c /tmp/nginx.conf -s reload 2> /dev/null; sleep 0.3; curl -s http://127.0.0.1:8080/1k | md5sum
nginx -c /tmp/nginx.conf -s quit 2> /dev/null; wait; grep 'emerg\|alert\|crit' nginx.err; echo ended
