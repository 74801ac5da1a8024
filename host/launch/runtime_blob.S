/* The runtime's ELF file as data of the teacup command, at the start of a page: it is mapped from there. */
    .section .rodata
    .balign 4096
    .globl teacup_runtime_start, teacup_runtime_end
teacup_runtime_start:
    .incbin RUNTIME_FILE
teacup_runtime_end:
    .globl teacup_gate_return
    .balign 8
teacup_gate_return:
    .quad GATE_RETURN
    .section .note.GNU-stack,"",@progbits
