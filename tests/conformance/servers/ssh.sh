# sshd on the loopback: commands, a terminal, files both ways, a tunnel; rsync and git through it.
cd /tmp; mkdir -p -m 700 /root/.ssh /home/ann/.ssh /run/sshd
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519; ssh-keygen -q -t ed25519 -N '' -f hostkey
cp /root/.ssh/id_ed25519.pub /home/ann/.ssh/authorized_keys; chown -R ann:ann /home/ann; chmod 755 /home/ann
printf '%s\n' 'Port 2222' 'HostKey /tmp/hostkey' 'PidFile /tmp/sshd.pid' 'UsePAM no' 'Subsystem sftp internal-sftp' > sshd_config
/usr/sbin/sshd -f sshd_config -E sshd.log
O="-o StrictHostKeyChecking=no -o UserKnownHostsFile=/tmp/known -o LogLevel=ERROR"
S="ssh -p 2222 $O"
until nc -z 127.0.0.1 2222; do sleep 0.05; done
$S ann@127.0.0.1 'id; pwd; echo $SSH_CONNECTION | cut -d" " -f1,3,4; tty; exit 7'; echo status $?
$S -tt ann@localhost 'stty size; tty; echo hello; exit 3' < /dev/null; echo status $?
head -c 3000000 /dev/urandom > f
$S ann@::1 'cat > f; cmp f /tmp/f && echo in' < f
$S ann@::1 'cat f' | cmp - f && echo out
echo 'put /tmp/f g' | sftp -q -P 2222 $O ann@127.0.0.1 > /dev/null; cmp f /home/ann/g && echo sftp
rsync -a --exclude localtime -e "$S" /usr/share/zoneinfo/ ann@127.0.0.1:zi/
diff -r -x localtime /usr/share/zoneinfo /home/ann/zi && echo rsync
$S -M -S /tmp/control -N -f -L 2300:127.0.0.1:2222 ann@127.0.0.1
ssh -p 2300 $O ann@127.0.0.1 echo through a tunnel
ssh -S /tmp/control -O exit ann@127.0.0.1 2> /dev/null
git -c init.defaultBranch=main init -q repo; cd repo; git config user.email a@b; git config user.name a
for i in 1 2 3 4 5; do cp /usr/bin/ls f$i; echo $i >> f$i; git add .; git commit -q -m $i; done; cd ..
export HOME=/tmp; git config --global safe.directory '*'
git clone -q --bare repo /home/ann/r.git; chown -R ann:ann /home/ann/r.git
export GIT_SSH_COMMAND="ssh -i /root/.ssh/id_ed25519 -p 2222 $O"
git clone -q ssh://ann@127.0.0.1/home/ann/r.git c; diff -r -x .git repo c && echo git clone
cd c; git config user.email a@b; git config user.name a; echo x > x; git add x; git commit -q -m x; git push -q; cd ..
git --git-dir /home/ann/r.git log --format=%s | head -1
kill "$(cat sshd.pid)"; grep -v 'Server listening\|Received\|Disconnected' sshd.log; echo ended
