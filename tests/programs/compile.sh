#!/bin/bash
# gcc and g++ make programs that run; make builds a few in parallel.
cd "$(mktemp -d)" || exit 1
cat > hello.c <<'C'
#include <stdio.h>
int main(int argc, char **argv) { printf("hello from %s, %d\n", argv[0], argc); return 3; }
C
cat > hello.cc <<'C'
#include <algorithm>
#include <iostream>
#include <stdexcept>
#include <thread>
#include <vector>
int main() {
  std::vector<int> v{3, 1, 2};
  std::thread([&] { std::sort(v.begin(), v.end()); }).join();
  try { v.at(10); } catch (const std::out_of_range& e) { std::cout << "caught\n"; }
  for (int i : v) std::cout << i << ' ';
  std::cout << std::endl;
}
C
gcc -O2 -Wall -o hello hello.c && ./hello; echo "status $?"
gcc -static -o hello-static hello.c && ./hello-static 1 2; echo "status $?"
g++ -O1 -g -pthread -o hellopp hello.cc && ./hellopp; echo "status $?"
echo 'int main( {' > wrong.c; gcc wrong.c 2>&1 | grep -c error
gcc -shared -fPIC -o libx.so -x c - <<< 'int x(void) { return 42; }'
gcc -o uses -x c - -L. -lx -Wl,-rpath,. <<< 'int x(void); int main(void) { return x(); }'; ./uses; echo "status $?"
for i in 1 2 3 4 5 6 7 8; do echo "int f$i(void) { return $i; }" > f$i.c; done
printf 'all: $(patsubst %%.c,%%.o,$(wildcard f*.c))\n\tar rc lib.a $^ && nm lib.a | grep -c " T "\n%%.o: %%.c\n\t@gcc -c -o $@ $<\n' > Makefile
make -j4 -s; make -q; echo "status $?"
size hello | awk 'NR == 2 { print NF }'; objdump -d hello | grep -c '<main>:'
