# wrk fetches a file of 1 KiB from nginx with two workers; prints the nanoseconds of one request.
d=$(mktemp -d); chmod 755 "$d"; cd "$d"; head -c 1024 /dev/zero | tr '\0' x > 1k
cat > nginx.conf <<N
worker_processes 2; daemon off; pid $d/pid; error_log $d/errors;
events { worker_connections 1000; }
http { access_log off; sendfile on; server { listen 127.0.0.1:18080; root $d; } }
N
nginx -c "$d/nginx.conf" 2> /dev/null &
until curl -s -o /dev/null http://127.0.0.1:18080/1k; do sleep 0.02; done
wrk -t2 -c50 -d2 http://127.0.0.1:18080/1k | awk '/^Requests\/sec/ { printf "%.1f\n", 1e9 / $2 } /Non-2xx|Socket errors/'
nginx -c "$d/nginx.conf" -s quit 2> /dev/null; wait; cd /; rm -rf "$d"
