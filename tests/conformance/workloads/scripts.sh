# What the scripts of a system do all day: small programs in loops, pipes, files, functions, text.
cd "$(mktemp -d)" || exit 1
for i in $(seq 200); do
  name=$(printf 'file%03d' "$i")
  date -d "@$((i * 86400))" +%F > "$name"
  basename "/some/where/$name.txt" .txt >> "$name"
  if [ $((i % 2)) = 0 ]; then grep -c 19 "$name" >> "$name"; fi
done
cat file* | sort | uniq -c | sort -rn | head -3 | sed 's/^ *//'
find . -name 'file*0' | while read -r f; do wc -c < "$f"; done | awk '{ n += $1 } END { print n }'
walk() { local depth=$1; ((depth == 0)) || { mkdir -p "d$depth"; (cd "d$depth" && walk $((depth - 1)) && touch leaf); }; }
walk 12
find . -name leaf | wc -l
declare -A words
while read -r word; do ((words[$word]++)); done < <(tr -cs 'a-z' '\n' < /etc/services 2> /dev/null || seq 1000 | tr 0-9 a-j)
echo "${#words[@]}"
for i in {1..50}; do (exit $((i % 3))) || echo "$i $?"; done | tail -2
seq 20 | xargs -P4 -I{} sh -c 'echo $(({} * {}))' | sort -n | tail -1
coproc cat; echo through >&"${COPROC[1]}"; read -r line <&"${COPROC[0]}"; echo "$line"
tar c file* | gzip | tar tz | wc -l
trap 'echo ended' EXIT
for i in {1..2000}; do x=$((x + i)); : "${x//1/2}"; done; echo "$x"
