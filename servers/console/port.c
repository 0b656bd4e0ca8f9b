/* SPDX-License-Identifier: BSD-2-Clause */
/* See port.h. IOPORT_OUT and IOPORT_IN take port, width and value in rdx, r10 and r8, and answer in rdx. */
#include "servers/console/port.h"
#include "console_component.h"
#include "sys/sys.h"

#define DATA_PORT 0x3f8u

extern const uint8_t port_given[], port_got[];

__attribute__((noipa)) void port_put(uint32_t *left, uint8_t byte)
{
    register uint64_t r10 __asm__("r10") = 1;
    register uint64_t r8 __asm__("r8") = byte;
    register uint64_t r9 __asm__("r9") = 0;
    uint64_t rax = (uint64_t)(int64_t)SYS_CALL, rdi = CAP_SERIAL_PORTS, rsi = TAG(IOPORT_OUT, 3),
             rdx = DATA_PORT;

    __asm__ volatile("syscall\n"
                     "port_given: decl (%[left])"
                     : "+a"(rax), "+D"(rdi), "+S"(rsi), "+d"(rdx), "+r"(r10), "+r"(r8), "+r"(r9)
                     : [left] "r"(left)
                     : "rcx", "r11", "cc", "memory");
}

__attribute__((noipa)) void port_get(uint64_t *received)
{
    register uint64_t r10 __asm__("r10") = 1;
    register uint64_t r8 __asm__("r8") = 0;
    register uint64_t r9 __asm__("r9") = 0;
    uint64_t rax = (uint64_t)(int64_t)SYS_CALL, rdi = CAP_SERIAL_PORTS, rsi = TAG(IOPORT_IN, 2),
             rdx = DATA_PORT;

    __asm__ volatile("syscall\n"
                     "port_got: movq %%rdx, (%[received])"
                     : "+a"(rax), "+D"(rdi), "+S"(rsi), "+d"(rdx), "+r"(r10), "+r"(r8), "+r"(r9)
                     : [received] "r"(received)
                     : "rcx", "r11", "memory");
}

struct flow_left port_left(const struct component_info *info)
{
    return (struct flow_left){ .before = info->incarnation,
                               .putting = info->left.rip == (uintptr_t)port_given,
                               .getting = info->left.rip == (uintptr_t)port_got,
                               .byte = (uint8_t)info->left.rdx };
}
