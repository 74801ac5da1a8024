#!/bin/bash
# Many short processes, four at a time.
cd "$(mktemp -d)" || exit 1
mkdir d{1..10}; for d in d*; do for i in {1..20}; do echo "$d $i" > "$d/f$i"; done; done
find . -type f | xargs -P4 -n5 cat | sort | md5sum
find . -type f -print0 | xargs -0 -P4 -I{} sh -c 'wc -c < "$1"' sh {} | sort -n | uniq -c | tr -s ' '
find . -name 'f1*' -exec rm {} + ; find . -type f | wc -l
seq 40 | xargs -P4 -n1 sh -c 'exit $(($0 % 2))'; echo "status $?"
