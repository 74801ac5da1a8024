/* The vDSO that guests get (vdso(7)): the machine's own, never the host's. Its functions enter the kernel the way a
 * patched site does: rcx says where to go on, *%gs:8 is the entry. The kernel reads the host's clock without a host
 * call, so that one costs 4 ns more than a clock read in place. */

    .macro CALL name, number
    .globl \name
    .type \name, @function
    .p2align 4
\name:
    .cfi_startproc
    mov $\number, %eax
    lea 1f(%rip), %rcx
    jmp *%gs:8
1:  ret
    .cfi_endproc
    .size \name, .-\name
    .endm

    .text
    CALL __vdso_clock_gettime, 228
    CALL __vdso_clock_getres, 229
    CALL __vdso_gettimeofday, 96
    CALL __vdso_time, 201
    CALL __vdso_getcpu, 309

    .weak clock_gettime, clock_getres, gettimeofday, time, getcpu
    .set clock_gettime, __vdso_clock_gettime
    .set clock_getres, __vdso_clock_getres
    .set gettimeofday, __vdso_gettimeofday
    .set time, __vdso_time
    .set getcpu, __vdso_getcpu

    .section .note.GNU-stack,"",@progbits
