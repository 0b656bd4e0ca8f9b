/* SPDX-License-Identifier: BSD-2-Clause */
/* Emulator: REP as it shows itself between iterations, and port I/O. */
// USES: servers/vmm/x86/*.c tests/host/x86/machine.c
#include <string.h>

#include "check.h"
#include "machine.h"

#define BASE 0x10000ull
#define DATA (BASE + PAGE_BYTES)

static struct machine m;

TEST(rep_stops_at_the_bound_and_goes_on)
{
    machine_init(&m, BASE);
    m.cpu.gpr[RDI] = DATA;
    m.cpu.gpr[RCX] = 100;
    CHECK_EQ(RUN(&m, 0xf3, 0x48, 0xab), X86_DONE);
    CHECK_EQ(m.cpu.rip, BASE);
    CHECK_EQ(m.cpu.gpr[RCX], 36);
    CHECK_EQ(m.cpu.gpr[RDI], DATA + 64 * 8);
    CHECK_EQ(machine_step(&m), X86_DONE);
    CHECK_EQ(m.cpu.rip, BASE + 3);
    CHECK_EQ(m.cpu.gpr[RCX], 0);
    CHECK_EQ(machine_get(&m, DATA + 99 * 8, 8), 0);
    CHECK_EQ(machine_get(&m, DATA + 100 * 8, 8), 0xcccccccccccccccc);
}

TEST(rep_fault_leaves_the_iterations_done)
{
    machine_init(&m, BASE);
    m.rights[2] = PAGE_READONLY;
    m.cpu.gpr[RSI] = BASE;
    m.cpu.gpr[RDI] = DATA + PAGE_BYTES - 10;
    m.cpu.gpr[RCX] = 9;
    m.cpu.shadow = 1;                         /* over with the first iteration */
    CHECK_EQ(RUN(&m, 0xf3, 0xa5), X86_FAULT); /* movsl */
    CHECK_EQ(m.cpu.shadow, 0);
    CHECK_EQ(m.out.cr2, DATA + PAGE_BYTES);
    CHECK_EQ(m.cpu.rip, BASE);
    CHECK_EQ(m.cpu.gpr[RCX], 7);
    CHECK_EQ(m.cpu.gpr[RSI], BASE + 8);
    CHECK_EQ(m.cpu.gpr[RDI], DATA + PAGE_BYTES - 2);
    m.rights[2] = PAGE_WRITABLE;
    CHECK_EQ(machine_step(&m), X86_DONE);
    CHECK_EQ(m.cpu.gpr[RCX], 0);
    CHECK_EQ(m.cpu.rip, BASE + 2);
}

TEST(rep_retry_leaves_the_iterations_done)
{
    machine_init(&m, BASE);
    m.cpu.gpr[RDI] = DATA;
    m.cpu.gpr[RCX] = 9;
    m.fail_at = 4;
    CHECK_EQ(RUN(&m, 0xf3, 0xaa), X86_RETRY);
    CHECK_EQ(m.cpu.gpr[RCX], 6);
    CHECK_EQ(m.cpu.rip, BASE);
}

TEST(rep_with_count_zero_touches_nothing)
{
    machine_init(&m, BASE);
    m.cpu.gpr[RCX] = 0xffffffff00000000; /* ECX is 0 */
    CHECK_EQ(RUN(&m, 0x67, 0xf3, 0xa4), X86_DONE);
    CHECK_EQ(m.calls, 0);
    CHECK_EQ(m.cpu.rip, BASE + 3);
    CHECK_EQ(m.cpu.gpr[RCX], 0xffffffff00000000);
}

TEST(rep_with_trap_flag_traps_after_each_iteration)
{
    machine_init(&m, BASE);
    m.cpu.gpr[RDI] = DATA;
    m.cpu.gpr[RCX] = 2;
    m.cpu.rflags |= X86_FLAG_TF;
    CHECK_EQ(RUN(&m, 0xf3, 0xaa), X86_DONE);
    CHECK(m.out.step_trap);
    CHECK_EQ(m.cpu.rip, BASE);
    CHECK_EQ(machine_step(&m), X86_DONE);
    CHECK(m.out.step_trap);
    CHECK_EQ(m.cpu.rip, BASE + 2);
}

TEST(string_in_real_mode_uses_16_bit_pointers_and_segments)
{
    machine_init(&m, BASE);
    machine_real(&m);
    m.cpu.seg[SEG_ES].base = BASE;
    m.cpu.seg[SEG_FS].base = DATA;
    m.cpu.gpr[RSI] = 0xaaaa0004;
    m.cpu.gpr[RDI] = 0xbbbb2000;
    machine_put(&m, DATA + 4, 2, 0x1234);
    CHECK_EQ(RUN(&m, 0x64, 0xa5), X86_DONE); /* movsw %fs:(%si), %es:(%di) */
    CHECK_EQ(machine_get(&m, BASE + 0x2000, 2), 0x1234);
    CHECK_EQ(m.cpu.gpr[RSI], 0xaaaa0006);
    CHECK_EQ(m.cpu.gpr[RDI], 0xbbbb2002);
}

TEST(in_and_out_widths_and_ports)
{
    machine_init(&m, BASE);
    m.cpu.gpr[RAX] = ~0ull;
    m.cpu.gpr[RDX] = 0xabcd03f8;
    m.port_value = 0x11223344;
    CHECK_EQ(RUN(&m, 0xec), X86_DONE);
    CHECK_EQ(m.port, 0x3f8);
    CHECK_EQ(m.port_size, 1);
    CHECK_EQ(m.cpu.gpr[RAX], 0xffffffffffffff44);
    CHECK_EQ(RUN(&m, 0x66, 0xed), X86_DONE);
    CHECK_EQ(m.cpu.gpr[RAX], 0xffffffffffff3344);
    CHECK_EQ(RUN(&m, 0x48, 0xe5, 0x71), X86_DONE); /* REX.W: 4 bytes all the same */
    CHECK_EQ(m.port, 0x71);
    CHECK_EQ(m.port_size, 4);
    CHECK_EQ(m.cpu.gpr[RAX], 0x11223344);
    m.cpu.gpr[RAX] = 0x99887766;
    CHECK_EQ(RUN(&m, 0xe6, 0x80), X86_DONE);
    CHECK_EQ(m.port, 0x80);
    CHECK_EQ(m.port_value, 0x66);
    m.fail_at = m.calls + 1;
    CHECK_EQ(RUN(&m, 0xe6, 0x80), X86_RETRY);
}

TEST(ins_checks_memory_before_it_takes_from_the_device)
{
    machine_init(&m, BASE);
    m.rights[1] = PAGE_READONLY;
    m.cpu.gpr[RDI] = DATA;
    m.cpu.gpr[RCX] = 3;
    CHECK_EQ(RUN(&m, 0xf3, 0x6c), X86_FAULT);
    CHECK_EQ(m.port_calls, 0);
    m.rights[1] = PAGE_WRITABLE;
    m.port_value = 0x42;
    CHECK_EQ(machine_step(&m), X86_DONE);
    CHECK_EQ(m.port_calls, 3);
    CHECK_EQ(machine_get(&m, DATA, 4), 0xcc424242);
}

TEST(outs_honours_the_segment_override)
{
    machine_init(&m, BASE);
    m.cpu.seg[SEG_GS].base = PAGE_BYTES;
    m.cpu.gpr[RSI] = BASE;
    m.cpu.gpr[RDX] = 0x60;
    machine_put(&m, DATA, 4, 0xdeadbeef);
    CHECK_EQ(RUN(&m, 0x65, 0x6f), X86_DONE);
    CHECK_EQ(m.port_value, 0xdeadbeef);
    CHECK_EQ(m.cpu.gpr[RSI], BASE + 4);
}

TEST(port_needs_iopl_or_a_clear_bit_in_the_map)
{
    machine_init(&m, BASE);
    m.cpu.cpl = 3;
    m.cpu.gpr[RDX] = 0x3f9;
    CHECK_EQ(RUN(&m, 0xec), X86_FAULT); /* no map within the limit */
    CHECK_EQ(EVENT_VECTOR(m.out.event), X86_VECTOR_GP);
    m.cpu.seg[SEG_TR] = (struct umbra_segment){ .base = DATA, .limit = 0xfff, .attributes = 0x8b };
    machine_put(&m, DATA + 0x66, 2, 0x100);
    machine_put(&m, DATA + 0x100 + 0x7f, 2, 0xfffd);
    CHECK_EQ(RUN(&m, 0xec), X86_DONE);
    CHECK_EQ(RUN(&m, 0x66, 0xed), X86_FAULT); /* the second byte's bit is set */
    m.cpu.gpr[RDX] = 0x3f8;
    CHECK_EQ(RUN(&m, 0xec), X86_FAULT);
    m.cpu.gpr[RDX] = 0x3fd;
    machine_put(&m, DATA + 0x100 + 0x7f, 2, 0xffdf);
    CHECK_EQ(RUN(&m, 0xec), X86_DONE);
    machine_put(&m, DATA + 0x100 + 0x7f, 2, 0x0020);
    CHECK_EQ(RUN(&m, 0xec), X86_FAULT);
    m.cpu.rflags |= X86_FLAG_IOPL;
    CHECK_EQ(RUN(&m, 0xec), X86_DONE);
    m.cpu.rflags |= X86_FLAG_VM; /* virtual-8086 mode always looks */
    m.cpu.seg[SEG_CS] = (struct umbra_segment){ .base = BASE, .limit = 0xffff, .attributes = 0xf3 };
    m.cpu.rip = 0;
    m.cpu.efer = 0;
    CHECK_EQ(RUN(&m, 0xec), X86_FAULT);
}
