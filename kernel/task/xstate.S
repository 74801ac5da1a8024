/* The processor's vector and floating-point state (x87, SSE, AVX, AVX-512, …), which the kernel never uses: saved and
 * loaded where a task's own would be lost (vfork) or is shown to the guest (signal frames). Areas are 64-byte aligned;
 * the mask selects state components (XCR0). The guest's may be bad memory: a fault is told, not taken. Without XSAVE
 * (mask 0) the old 512-byte format is used. */
#include "kernel/uaccess/on_fault.inc"

    .text
/* int xstate_save(void* area, u64 mask): 0, or 1 on a fault. The area's header (bytes 512-575) must be zero. */
    .globl xstate_save
    .type xstate_save, @function
xstate_save:
    mov %rsi, %rax
    mov %rsi, %rdx
    shr $32, %rdx
    test %rsi, %rsi
    jz 3f
1:  xsave64 (%rdi)
    xor %eax, %eax
    ret
3:  fxsave64 (%rdi)
    xor %eax, %eax
    ret
2:  mov $1, %eax
    ret
    on_fault 1b, 2b
    on_fault 3b, 2b
    .size xstate_save, .-xstate_save

/* int xstate_load(const void* area, u64 mask): 0, or 1 if the area cannot be read or is not a valid one. */
    .globl xstate_load
    .type xstate_load, @function
xstate_load:
    mov %rsi, %rax
    mov %rsi, %rdx
    shr $32, %rdx
    test %rsi, %rsi
    jz 3f
1:  xrstor64 (%rdi)
    xor %eax, %eax
    ret
3:  fxrstor64 (%rdi)
    xor %eax, %eax
    ret
2:  mov $1, %eax
    ret
    on_fault 1b, 2b
    on_fault 3b, 2b
    .size xstate_load, .-xstate_load

/* int xstate_load_legacy(const void* area): as above, for a frame with the first 512 bytes alone. */
    .globl xstate_load_legacy
    .type xstate_load_legacy, @function
xstate_load_legacy:
1:  fxrstor64 (%rdi)
    xor %eax, %eax
    ret
2:  mov $1, %eax
    ret
    on_fault 1b, 2b
    .size xstate_load_legacy, .-xstate_load_legacy

    .section .note.GNU-stack,"",@progbits
