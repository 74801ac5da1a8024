# The tests of redis, from its source, on the packaged server: those in the files that the patterns given stand for.
wanted=("$@")
cp -r /src/redis /tmp/redis; cd /tmp/redis
for p in server cli benchmark check-aof check-rdb; do ln -sf /usr/bin/redis-$p src/redis-$p; done; ln -sf /usr/bin/redis-server src/redis-sentinel
# A test that Debian took from a later redis: this one does not know the value, which would be the end of all tests.
sed -i 's/repl-diskless-load yes/repl-diskless-load on-empty-db/' tests/integration/replication.tcl
cd tests; tests=()
for pattern in "${wanted[@]}"; do
  for file in $pattern.tcl; do
    file=${file%.tcl}
    grep -qx " *$file" test_helper.tcl && tests+=(--single "$file")  # not what others share
  done
done
cd ..
tclsh tests/test_helper.tcl --clients 3 "${tests[@]}" 2>&1 | sed 's/\x1b\[[0-9;]*m//g'
