# zlib from its source: configured, built in parallel, tested, installed.
set -e
cp -r /src/zlib /tmp/zlib
cd /tmp/zlib
chmod -R u+w .
./configure --prefix=/tmp/installed > /dev/null
make -j4 > /dev/null 2>&1
make check 2>&1 | grep -i OK
make install > /dev/null
find /tmp/installed | sort
make clean > /dev/null
sh ./configure --static > /dev/null
make -j2 CFLAGS=-O0 libz.a > /dev/null 2>&1
ar t libz.a | sort | tr '\n' ' '
