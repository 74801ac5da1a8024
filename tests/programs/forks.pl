#!/usr/bin/perl
# Twenty children, each with a pipe to its parent.
use strict;
use warnings;
my (%pipes, @lines);
for my $i (1 .. 20) {
  pipe(my $reader, my $writer) or die "pipe: $!";
  my $pid = fork() // die "fork: $!";
  if ($pid == 0) {
    close $reader;
    print $writer "child $i: ", join(',', map { $i * $_ } 1 .. 5), "\n";
    close $writer;
    exit $i;
  }
  close $writer;
  $pipes{$pid} = $reader;
}
my $sum = 0;
while ((my $pid = wait()) > 0) {
  $sum += $? >> 8;
  my $reader = $pipes{$pid};
  push @lines, <$reader>;
}
print sort { ($a =~ /(\d+)/)[0] <=> ($b =~ /(\d+)/)[0] } @lines;
print "sum $sum\n";
local $SIG{ALRM} = sub { print "alarm\n" };
alarm 1;
select(undef, undef, undef, 5);
print scalar(`echo from a command`);
open(my $child, '-|', 'sort', '-r', $0) or die;
my @sorted = <$child>;
close $child;
print "lines ", scalar(@sorted), " status $?\n";
