/* Changing kernel stacks within one host thread. */
    .text

/* void switch_stack(u64* saved, u64 stack_top, void (*function)(void*), void* argument)
 * Leaves the current stack as it is, with where it stands in *saved, and calls function(argument) on another. Returns
 * when resume_stack(*saved) is called. `function` does not return. */
    .globl switch_stack
    .type switch_stack, @function
switch_stack:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    and $-16, %rsp
    mov %rcx, %rdi
    xor %ebp, %ebp
    call *%rdx
    ud2
    .size switch_stack, .-switch_stack

/* [[noreturn]] void resume_stack(u64 saved) */
    .globl resume_stack
    .type resume_stack, @function
resume_stack:
    mov %rdi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .size resume_stack, .-resume_stack

/* [[noreturn]] void continue_on_stack(u64 stack_top, void (*function)(void*), void* argument) */
    .globl continue_on_stack
    .type continue_on_stack, @function
continue_on_stack:
    mov %rdi, %rsp
    and $-16, %rsp
    mov %rdx, %rdi
    xor %ebp, %ebp
    call *%rsi
    ud2
    .size continue_on_stack, .-continue_on_stack

    .section .note.GNU-stack,"",@progbits
