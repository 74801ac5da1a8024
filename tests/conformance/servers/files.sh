# The daemons of rsync and git.
cd /tmp; mkdir src d; cp -rL /usr/share/zoneinfo/Europe /usr/lib/git-core src/ 2> /dev/null
printf '%s\n' 'port = 8730' 'pid file = /tmp/rsync.pid' 'use chroot = no' '[m]' 'path = /tmp/src' 'read only = no' 'uid = 0' 'gid = 0' > rsyncd.conf
rsync --daemon --config rsyncd.conf; until nc -z 127.0.0.1 8730; do sleep 0.05; done
rsync rsync://localhost:8730/ | cat -A
rsync -a rsync://127.0.0.1:8730/m/ d/ && diff -r src d && echo fetched
echo new > d/new; rsync -a 'd/' 'rsync://[::1]:8730/m/' && cat src/new; kill "$(cat rsync.pid)"
export HOME=/tmp; git config --global user.email a@b; git config --global user.name a; git config --global safe.directory '*'
git -c init.defaultBranch=main init -q repo; cd repo; for i in $(seq 20); do cp /usr/bin/true f$i; echo $i >> f$i; git add .; git commit -q -m $i; done; cd ..
git daemon --base-path=/tmp --export-all --reuseaddr --detach --pid-file=/tmp/git.pid; until nc -z localhost 9418; do sleep 0.05; done
for i in 1 2 3 4; do git clone -q git://localhost/repo c$i & done; wait
for i in 1 2 3 4; do diff -r -x .git repo c$i && echo cloned; done
git ls-remote git://127.0.0.1/repo | wc -l; kill "$(cat git.pid)"
