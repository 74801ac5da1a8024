# nginx with two workers and a file of 1 KiB, on port $1, until it is killed.
d=$(mktemp -d); chmod 755 "$d"; cd "$d"; head -c 1024 /dev/zero | tr '\0' x > 1k
cat > nginx.conf <<N
worker_processes 2; daemon off; pid $d/pid; error_log $d/errors;
events { worker_connections 1000; }
http { access_log off; sendfile on; server { listen $1; root $d; } }
N
exec nginx -c "$d/nginx.conf" 2> /dev/null
