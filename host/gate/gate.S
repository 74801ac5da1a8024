/* The gate itself: the only `syscall` instruction in the runtime. The seccomp filter compares the instruction pointer
 * with host_gate_return, so it must stay the only one, and nothing may be put between it and the label. */
    .text

/* s64 host_call(u64 number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) */
    .globl host_call
    .type host_call, @function
host_call:
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    mov %r8, %r10
    mov %r9, %r8
    mov 8(%rsp), %r9
    .globl host_gate
host_gate:
    syscall
    .globl host_gate_return
host_gate_return:
    ret
    .size host_call, .-host_call

/* The restorer of host signal handlers: rt_sigreturn through the gate. */
    .globl host_sigreturn
    .type host_sigreturn, @function
host_sigreturn:
    mov $15, %eax
    jmp host_gate
    .size host_sigreturn, .-host_sigreturn

/* A new host thread's first instructions: see spawn_thread. The call leaves the stack aligned as the C ABI wants it. */
    .globl host_thread_start
    .type host_thread_start, @function
host_thread_start:
    pop %rdi
    pop %rax
    xor %ebp, %ebp
    call *%rax
    ud2
    .size host_thread_start, .-host_thread_start

    .section .note.GNU-stack,"",@progbits
