/* Assembly: an entry of the exception table. A fault at `from` goes on at `to` (kernel/entry/host_signal.cc). */
#ifndef TEACUP_KERNEL_UACCESS_ON_FAULT_H
#define TEACUP_KERNEL_UACCESS_ON_FAULT_H

    .macro on_fault from, to
    .pushsection .ex_table, "a"
    .quad \from, \to
    .popsection
    .endm

#endif
