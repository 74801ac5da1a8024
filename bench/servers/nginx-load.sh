# wrk fetches a file of 1 KiB from port $1 for $2 ms, at least a second; prints the nanoseconds of one request.
wrk -t2 -c50 -d"$((($2 + 999) / 1000))" "http://127.0.0.1:$1/1k" | awk '/^Requests\/sec/ { printf "%.1f\n", 1e9 / $2 } /Non-2xx|Socket errors/'
