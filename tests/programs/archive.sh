#!/bin/bash
# Archives and compressors, in pipes and in files.
cd "$(mktemp -d)" || exit 1
mkdir -p t/sub; seq 20000 > t/numbers; ln -s numbers t/link; ln t/numbers t/hard; chmod 4751 t/sub; touch -d '2001-02-03 04:05:06 UTC' t/numbers t/sub t
tar c t | xz -0 | tar tJ | sort
tar cf - --sort=name t | xz -T2 > t.tar.xz && xz -t t.tar.xz && echo sound
mkdir out && tar xpf t.tar.xz -C out && diff -r t out/t && echo same
stat -c '%a %h %Y %F' out/t/numbers out/t/sub
gzip -kf t/numbers && zcat t/numbers.gz | cmp - t/numbers && echo same
tar --zstd --version > /dev/null && md5sum < t/numbers
