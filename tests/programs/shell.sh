#!/bin/bash
# What shell scripts are made of.
set -u
cd "$(mktemp -d)" || exit 1

echo "-- pipelines"
seq 1 1000 | grep 7 | sed 's/7/seven/' | awk '{ n += length($0) } END { print n }'
printf '%s\n' pear apple fig apple | sort | uniq -c | sort -rn | tr -s ' '
yes teacup | head -n 3
false | true; echo "status $? of ${PIPESTATUS[*]}"
(set -o pipefail; false | cat; echo "pipefail $?")
{ echo one; echo two >&2; } 2>&1 | sort

echo "-- here-documents and here-strings"
name=cup
cat <<EOF
a $name and $((6 * 7))
EOF
cat <<'EOF'
a literal $name
EOF
wc -c <<< "here"
for size in 100 70000 300000; do head -c $size /dev/zero | tr '\0' x > big; cat > copy <<EOF
$(cat big)
EOF
wc -c < copy; done

echo "-- process substitution"
diff <(seq 5) <(seq 2 6)
paste <(echo left) <(echo right)
echo through > >(tr a-z A-Z); wait $!
while read -r line; do echo "got $line"; done < <(printf 'x\ny\n')

echo "-- redirections"
exec 3> three 4< <(echo four); echo to three >&3; read -r line <&4; echo "$line"; exec 3>&- 4<&-; cat three
echo append >> three; wc -l < three
{ echo out; echo err >&2; } > both 2>&1; cat both
echo clobber | tee copy1 copy2 > /dev/null; cat copy1 copy2
: 2>/dev/null < /no/such/file || echo "no such file: $?"

echo "-- jobs and wait"
for i in 3 2 1; do (sleep 0.$((i)); exit $i) & pids[i]=$!; done
for i in 1 2 3; do wait "${pids[i]}"; echo "job $i: $?"; done
sleep 100 & kill $!; wait $!; echo "killed: $?"
(exit 5) & wait -n; echo "any: $?"
coproc tr a-z A-Z
# Once it has ended there is no COPROC any more.
exec {upper}<&"${COPROC[0]}"; echo coprocess >&"${COPROC[1]}"; exec {COPROC[1]}>&-; cat <&"$upper"; wait

echo "-- traps and signals"
trap 'echo "USR1 seen"' USR1
kill -USR1 $$
(trap 'echo "child term"; exit 4' TERM; kill -TERM $BASHPID; sleep 10); echo "status $?"
bash -c 'trap "echo leaving" EXIT; exit 9'; echo "status $?"
{ bash -c 'kill -SEGV $$'; } 2>/dev/null; echo "status $?"
(ulimit -n 20; ulimit -n)
timeout 0.2 sleep 10; echo "timeout $?"

echo "-- files"
mkdir -p a/b/c && touch a/b/c/{1..12} && ls a/b/c | wc -l
ln -s a/b link && ls link && readlink -f link/c/.. | sed "s,$PWD,,"
find a -type f -name '1*' | sort | tr '\n' ' '; echo
chmod 640 three && stat -c '%a %s %F' three
mv a z && rm -r z && [[ ! -e link ]] && [[ -L link ]] && echo "dangling"
echo {1..3} * | head -c 60; echo
test -w / && echo writable
mkfifo pipe && (echo through the fifo > pipe &) && cat pipe
cmp <(head -c 100000 /dev/zero) <(head -c 100000 /dev/zero) && echo equal
