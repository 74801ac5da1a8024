/* The ways into the kernel and the one way out.
 *
 *   syscall_entry   from a trampoline: rcx = where to go on, rax = number. rcx and r11 are free (the instruction that stood
 *                   here clobbers them), everything else is the guest's. Nothing is written to the guest's stack.
 *   net_entry       from the SIGSYS handler, fault_entry from the handlers of synchronous signals, preempt_entry from the
 *                   kick, stepped_entry from that of a trap at syscall_entry (the guest has TF set): the handler has
 *                   stored the whole Frame and set rsp to it.
 *   exit_to_guest   the way out. From exit_window_start to exit_window_end the sequence can be restarted: it only reads the
 *                   Frame, so a kick that arrives in between sets rip back to exit_to_guest, where pending work is seen.
 *
 * The crossings store the mode without a fence, which would cost 5 ns each, a fourth of a call. So another task that has
 * set a pending reason must not trust that this one is in the kernel and will test it: see interrupt(). iretq restores
 * every register in user mode without asking the host.
 *
 * Figures (2 cores, nested VM, ns): see docs/architecture.md, "Entering the kernel".
 */
#include "kernel/entry/frame_macros.inc"

    .text
    .p2align 6
PUBLIC syscall_entry
    SAVE_FRAME %rcx, $FRAME_KIND_CALL, %rax
    testl $FLAGS_UNUSUAL, FRAME_RFLAGS(%rsp)
    jnz 2f
1:  movl $MODE_KERNEL, %gs:TASK_MODE
    mov %rsp, %rdi
    xor %ebp, %ebp
    call kernel_syscall
    jmp exit_after_call
2:  /* AC, DF, NT (with which iretq faults) or TF is set: the kernel runs without, and iretq gives them back. */
    movq $FRAME_KIND_FULL, FRAME_KIND(%rsp)
    CLEAN_FLAGS
    jmp 1b

PUBLIC net_entry
    mov %rsp, %rdi
    xor %ebp, %ebp
    call kernel_syscall
    jmp exit_to_guest

PUBLIC fault_entry
    mov %rsp, %rdi
    xor %ebp, %ebp
    call kernel_fault
    jmp exit_to_guest

PUBLIC stepped_entry
    mov %rsp, %rdi
    xor %ebp, %ebp
    call kernel_stepped_call
    jmp exit_to_guest

PUBLIC preempt_entry
    xor %ebp, %ebp
    jmp exit_work

    .p2align 6
PUBLIC exit_window_start
exit_after_call:                /* the callee-saved registers but rbp are still the guest's */
    movl $MODE_USER, %gs:TASK_MODE
    cmpl $0, %gs:TASK_PENDING
    jne exit_work
    mov FRAME_RBP(%rsp), %rbp
    cmpq $FRAME_KIND_CALL, FRAME_KIND(%rsp)
    je 1f
PUBLIC exit_to_guest
    mov %gs:TASK_STACK_TOP, %rsp
    sub $FRAME_SIZE, %rsp
    movl $MODE_USER, %gs:TASK_MODE
    cmpl $0, %gs:TASK_PENDING
    jne exit_work
    LOAD_CALLEE_SAVED
    cmpq $FRAME_KIND_CALL, FRAME_KIND(%rsp)
    jne 2f
1:  LOAD_ARGUMENTS
    /* The arithmetic flags; the others are as they came. popfq would take 5 ns. */
    mov FRAME_RFLAGS(%rsp), %ecx
    mov %cl, %ah
    shr $11, %ecx
    and $1, %ecx
    add $127, %cl               /* OF */
    sahf                        /* SF ZF AF PF CF */
    mov FRAME_RAX(%rsp), %rax
    mov FRAME_RIP(%rsp), %rcx
    mov FRAME_RSP(%rsp), %rsp
    jmp *%rcx
2:  LOAD_ARGUMENTS
    mov FRAME_RAX(%rsp), %rax
    mov FRAME_R11(%rsp), %r11
    mov FRAME_RCX(%rsp), %rcx
    lea FRAME_RIP(%rsp), %rsp
    iretq
PUBLIC exit_window_end

exit_work:
    movl $MODE_KERNEL, %gs:TASK_MODE
    mov %gs:TASK_STACK_TOP, %rsp
    sub $FRAME_SIZE, %rsp
    mov %rsp, %rdi
    call kernel_exit_work
    jmp exit_to_guest

/* The runtime's start, in the template: the host's initial stack, as from any exec. */
PUBLIC _start
    mov %rsp, %rdi
    xor %ebp, %ebp
    and $-16, %rsp
    call template_main
    ud2

    .section .note.GNU-stack,"",@progbits
