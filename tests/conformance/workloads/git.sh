# A repository of two thousand files: made, changed, branched, merged, packed, cloned, bisected.
set -e
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b HOME=/tmp
export GIT_AUTHOR_DATE='2023-01-01 00:00:00 +0000' GIT_COMMITTER_DATE='2023-01-01 00:00:00 +0000' GIT_CONFIG_NOSYSTEM=1
git config --global init.defaultBranch main
git config --global protocol.file.allow always
mkdir /tmp/one && cd /tmp/one
git init -q
for d in $(seq 20); do
  mkdir "d$d"
  for f in $(seq 100); do echo "file $d $f" > "d$d/f$f"; done
done
git add .
git commit -qm first
git status --short | wc -l
for i in $(seq 20); do
  seq "$i" $((i * 30)) >> "d$i/f$i"
  git commit -qam "change $i"
done
git log --oneline | wc -l
git checkout -qb other HEAD~10
git mv d1 moved
echo more >> d3/f50
git commit -qam other
git merge -q -m merged main
git log --graph --format=%s | head -5
git diff --stat HEAD~5 | tail -1
git stash list
echo dirty >> d5/f5
git stash -q
git stash pop -q
git checkout -q -- d5
git blame d2/f2 | wc -l
git grep -c 'file 7 7' | wc -l
git rebase -q main~3 main 2>&1 | tail -1
git gc -q
git fsck --full 2>&1 | grep -c bad || true
git clone -q /tmp/one /tmp/two
cd /tmp/two
git rev-parse origin/other
git archive HEAD | tar t | wc -l
git bisect start HEAD HEAD~15 > /dev/null
git bisect run sh -c 'test "$(wc -l < d12/f12)" -lt 100' | grep "first bad commit" | tail -1
git bisect reset 2> /dev/null
git format-patch -q -3
git reset -q --hard HEAD~3
git am -q ./*.patch
git log -1 --format=%s
git push -q origin HEAD:refs/heads/new
git -C /tmp/one show-ref | wc -l
git worktree add -q /tmp/three other
git -C /tmp/three submodule --quiet add /tmp/two sub
git -C /tmp/three status --short
