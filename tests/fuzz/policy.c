/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: what a guest writes to control registers and MSRs, in any order, on a host with any CPUID.
 *
 * Oracles: a refused write changes nothing; LMA is LME and PG; PG stands only with PE; no reserved bit gets
 * in; the undo record takes MSRs back; a change of mode is told of; CPUID shows the guest nothing of the host
 * beyond what it may. */
// USES: servers/vmm/policy/*.c
#include "support/fuzz.h"

#include "check.h"
#include "servers/vmm/policy/msr.h"

#include <string.h>

#define STEPS_MAX 64u

static struct {
    struct msr_state msr;
    struct msr_cpu cpu;
    struct cr_limits limits;
    struct cpuid_host host;
} v;

static void check_state(const struct cr_state *s)
{
    bool pg = s->cr0 & CR0_PG, lme = s->efer & EFER_LME, lma = s->efer & EFER_LMA;

    CHECK_EQ(lma, lme && pg);
    CHECK(!pg || s->cr0 & CR0_PE);
    CHECK(!lma || s->cr4 & CR4_PAE);
    CHECK_EQ(s->cr0 >> 32, 0);
    CHECK_EQ(s->cr4 & ~v.limits.cr4_valid, 0);
    CHECK_EQ(s->efer & ~v.limits.efer_valid, 0);
    CHECK_EQ(s->cr8 & ~15ull, 0);
    CHECK(!lma || !(s->cr3 & v.limits.cr3_long_reserved));
}

static void take(const struct cr_result *r)
{
    const struct cr_state *s = &v.cpu.cr;

    if (r->gp) {
        CHECK_MEM_EQ(&r->next, s, sizeof(*s));
        return;
    }
    CHECK_EQ(r->paging_changed, cr_paging(s) != cr_paging(&r->next));
    uint64_t changed = ((s->cr0 ^ r->next.cr0) & CR0_WP) | ((s->cr4 ^ r->next.cr4) & (CR4_SMEP | CR4_SMAP));
    if (changed || ((s->efer ^ r->next.efer) & EFER_NXE))
        CHECK(r->rights_changed);
    v.cpu.cr = r->next;
    check_state(&v.cpu.cr);
}

static uint64_t flipped(struct fuzz_input *in, uint64_t value)
{
    uint8_t how = fuzz_byte(in);
    return how < 0xc0 ? value ^ 1ull << how % 64 : value ^ fuzz_value(in);
}

static void write_register(struct fuzz_input *in, uint8_t which)
{
    const struct cr_state *s = &v.cpu.cr;
    struct cr_result r;
    uint64_t value;

    switch (which % 7) {
    case 0:
        r = cr_write_cr0(s, flipped(in, s->cr0));
        break;
    case 1:
        value = flipped(in, s->cr3); /* of 32 bits outside of 64-bit code */
        r = cr_write_cr3(s, &v.limits, s->efer & EFER_LMA && s->cs_long ? value : (uint32_t)value);
        break;
    case 2:
        r = cr_write_cr4(s, &v.limits, flipped(in, s->cr4));
        break;
    case 3:
        r = cr_write_cr8(s, fuzz_value(in));
        break;
    case 4:
        r = cr_write_efer(s, &v.limits, flipped(in, s->efer));
        break;
    case 5:
        r = cr_lmsw(s, (uint16_t)flipped(in, s->cr0));
        break;
    default:
        r = cr_clts(s);
    }
    take(&r);
}

/* ---- MSRs ---- */

static struct {
    struct dev_undo undo;
    uint8_t *field[8], old[8][64];
    size_t bytes[8], used;
} notes;

static void note(struct dev_undo *undo, void *field, size_t bytes)
{
    uint64_t offset = (uint64_t)((uint8_t *)field - (uint8_t *)&v.msr);

    CHECK(undo == &notes.undo && notes.used < 8);
    CHECK(offset < sizeof(v.msr) && bytes <= sizeof(v.msr) - offset && bytes <= 64);
    notes.field[notes.used] = field;
    notes.bytes[notes.used] = bytes;
    memcpy(notes.old[notes.used++], field, bytes);
}

static void write_msr(struct fuzz_input *in)
{
    static const uint32_t some[] = { 0x10,       0x1b,       0x3b,       0x174,      0x1d9,      0x277,
                                     0x6e0,      0x4b564d00, 0x4b564d01, 0xc0000080, 0xc0000081, 0xc0000082,
                                     0xc0000084, 0xc0000100, 0xc0010010, 0xc0010015, 0xc001001a, 0xc0011029 };
    uint8_t which = fuzz_byte(in);
    uint32_t index = which < 0xf0 ? some[which % 18] : (uint32_t)fuzz_value(in);
    struct msr_state state = v.msr, after;
    struct msr_cpu cpu = v.cpu;
    uint64_t value = 0, now = 0, read = 0;

    msr_read(&v.msr, &v.cpu, index, &now);
    value = which & 0x10 ? flipped(in, now) : fuzz_value(in);
    notes.used = 0;
    struct msr_outcome o = msr_write(&v.msr, &v.cpu, &v.limits, &notes.undo, index, value);
    check_note("msr %#x value %#llx", index, (unsigned long long)value);
    after = v.msr;
    while (notes.used--)
        memcpy(notes.field[notes.used], notes.old[notes.used], notes.bytes[notes.used]);
    CHECK_MEM_EQ(&v.msr, &state, sizeof(state));
    v.msr = after;
    if (o.gp) {
        CHECK_MEM_EQ(&v.msr, &state, sizeof(state));
        CHECK_MEM_EQ(&v.cpu, &cpu, sizeof(cpu));
        return;
    }
    CHECK(!msr_read(&v.msr, &v.cpu, index, &read).gp);
    if (index == 0x10)
        CHECK_EQ(read, value);
    CHECK_EQ(v.cpu.apic_base & ~BIT(11), 0xfee00100);
    if (index != 0xc0000080)
        return;
    struct cr_state next = v.cpu.cr;
    v.cpu.cr = cpu.cr;
    CHECK_MEM_EQ(&next, &o.cr.next, sizeof(next));
    take(&o.cr);
}

/* ---- CPUID ---- */

static void check_cpuid(struct fuzz_input *in)
{
    uint8_t which = fuzz_byte(in);
    uint32_t leaf = which < 0x40   ? which
                    : which < 0x80 ? 0x80000000 + (which & 63)
                                   : (uint32_t)fuzz_value(in);
    struct cpuid_regs r = cpuid_guest(&v.host, leaf, which & 0x80 ? fuzz_byte(in) : 0);

    if (leaf == 1) {
        CHECK_EQ(r.ecx & (BIT(3) | BIT(5) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28)), 0);
        CHECK_EQ(r.edx & (BIT(7) | BIT(12) | BIT(14)), 0);
        CHECK_EQ(r.ecx >> 31, v.host.enlighten ? 1 : 0);
    }
    if (leaf == 7)
        CHECK_EQ((r.ebx & (BIT(5) | BIT(10) | BIT(16))) | (r.ecx & BIT(16)), 0);
    if (leaf == 0x80000001)
        CHECK_EQ((r.ecx & BIT(2)) | (r.edx & BIT(27)), 0);
    if (leaf == 0x80000008)
        CHECK_EQ(r.eax & 0xffff, GUEST_PHYS_BITS | GUEST_LINEAR_BITS << 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct fuzz_input in = { bytes, bytes + n };

    memset(&v, 0, sizeof(v));
    memset(&v.host, fuzz_byte(&in) & 1 ? 0xff : 0, sizeof(v.host));
    if (fuzz_byte(&in) & 1)
        fuzz_bytes(&in, v.host.row, sizeof(v.host.row));
    v.host.enlighten = fuzz_byte(&in) & 1;
    v.limits = cr_limits_of(&v.host);
    v.cpu.enlighten = v.host.enlighten;
    v.cpu.now = 1000000;
    v.cpu.apic_base = 0xfee00900;
    v.cpu.cr.cr0 = CR0_ET;
    notes.undo.note = note;
    msr_init(&v.msr);
    for (unsigned i = 0; i < STEPS_MAX && fuzz_left(&in); i++) {
        uint8_t what = fuzz_byte(&in);
        v.cpu.cr.cs_long = what & 0x80;
        if (what % 4 == 0)
            check_cpuid(&in);
        else if (what % 4 == 1)
            write_msr(&in);
        else
            write_register(&in, what >> 2 & 31);
    }
    return 0;
}
