/* SPDX-License-Identifier: BSD-2-Clause */
/* The reference page walk; section numbers are those of AMD APM vol. 2. See walk.h. */
#include "walk.h"

#define CR0_PG    (1ull << 31)
#define CR0_WP    (1ull << 16)
#define CR4_PSE   (1ull << 4)
#define CR4_PAE   (1ull << 5)
#define CR4_SMEP  (1ull << 20)
#define CR4_SMAP  (1ull << 21)
#define EFER_LMA  (1ull << 10)
#define EFER_NXE  (1ull << 11)
#define ENTRY_P   (1ull << 0)
#define ENTRY_RW  (1ull << 1)
#define ENTRY_US  (1ull << 2)
#define ENTRY_PS  (1ull << 7)
#define ENTRY_G   (1ull << 8)
#define ENTRY_NX  (1ull << 63)
#define ERROR_P   1u
#define ERROR_W   2u
#define ERROR_U   4u
#define ERROR_RSV 8u
#define ERROR_I   16u

enum mode { MODE_NONE, MODE_32, MODE_PAE, MODE_LONG };

static enum mode mode_of(const struct model_cpu *cpu)
{
    if (!(cpu->cr0 & CR0_PG))
        return MODE_NONE;
    if (cpu->efer & EFER_LMA)
        return MODE_LONG;
    return cpu->cr4 & CR4_PAE ? MODE_PAE : MODE_32;
}

static bool nxe(const struct model_cpu *cpu)
{
    return (cpu->efer & EFER_NXE) != 0;
}

static uint64_t bits(unsigned high, unsigned low) /* mask, inclusive; nothing if high < low */
{
    uint64_t mask = 0;
    for (unsigned i = low; i <= high; i++)
        mask |= 1ull << i;
    return mask;
}

/* 8.4.2: the error code of an access that faults. */
static void page_fault(struct model_walk *w, const struct model_cpu *cpu, const struct model_access *a,
                       unsigned why)
{
    bool reports_fetch = (nxe(cpu) && mode_of(cpu) != MODE_32) || (cpu->cr4 & CR4_SMEP);
    w->outcome = MODEL_PAGE_FAULT;
    w->error = why | (a->write ? ERROR_W : 0) | (a->user ? ERROR_U : 0);
    if (a->exec && reports_fetch)
        w->error |= ERROR_I;
}

/* 5.3 to 5.4: bits that must be zero in a present entry. */
static uint64_t reserved(const struct model_cpu *cpu, enum mode mode, unsigned level, bool large)
{
    uint64_t mask = 0;
    if (mode == MODE_32) {
        /* figure 5-6: a 4 MB entry has bits 39..32 of its address in 20..13 */
        if (large && cpu->phys_bits < 40)
            return bits(21, 13 + (cpu->phys_bits - 32));
        return large ? bits(21, 21) : 0;
    }
    mask |= bits(51, cpu->phys_bits);
    if (mode == MODE_PAE)
        mask |= bits(62, 52);
    if (!nxe(cpu))
        mask |= ENTRY_NX;
    if (large)
        mask |= level == 3 ? bits(29, 13) : bits(20, 13);
    if (level == 4)
        mask |= ENTRY_PS;
    if (level >= 3 && !large && cpu->amd_reserves_g)
        mask |= ENTRY_G;
    return mask;
}

/* 5.6: may the access use a page with these combined rights? */
bool model_allowed(const struct model_cpu *cpu, const struct model_access *a, const struct model_walk *w)
{
    if (a->user) {
        if (!w->user || (a->write && !w->write) || (a->exec && !w->exec))
            return false;
        return true;
    }
    if (a->exec)
        return w->exec && !(w->user && (cpu->cr4 & CR4_SMEP));
    if (w->user && (cpu->cr4 & CR4_SMAP) && (a->implicit || !a->ac))
        return false;
    return !a->write || w->write || !(cpu->cr0 & CR0_WP);
}

static uint64_t large_frame(enum mode mode, uint64_t entry, uint64_t bytes)
{
    if (mode == MODE_32)
        return (entry & 0xffc00000) | (entry & bits(20, 13)) >> 13 << 32;
    return entry & bits(51, 12) & ~(bytes - 1);
}

enum model_step model_step(struct model_walk *w, const struct model_cpu *cpu, const struct model_access *a,
                           unsigned level, uint64_t *table)
{
    enum mode mode = mode_of(cpu);
    unsigned width = mode == MODE_32 ? 10 : 9, bytes = mode == MODE_32 ? 4 : 8;
    unsigned shift = 12 + (level - 1) * width;
    uint64_t at = *table + ((a->va >> shift) & ((1u << width) - 1)) * bytes;
    uint64_t entry = cpu->read(cpu->context, at, bytes);
    uint64_t frame = entry & (mode == MODE_32 ? bits(31, 12) : bits(51, 12));
    bool large = false;

    w->entry_gpa[w->levels] = at;
    w->entry[w->levels] = entry;
    w->entry_bytes = bytes;
    w->levels++;
    if (!(entry & ENTRY_P)) {
        page_fault(w, cpu, a, 0);
        return MODEL_FAULT;
    }
    if (entry & ENTRY_PS) {
        if (mode == MODE_32)
            large = level == 2 && (cpu->cr4 & CR4_PSE);
        else
            large = level == 2 || (level == 3 && mode == MODE_LONG);
    }
    if (entry & reserved(cpu, mode, level, large)) {
        page_fault(w, cpu, a, ERROR_P | ERROR_RSV);
        return MODEL_FAULT;
    }
    w->write = w->write && (entry & ENTRY_RW);
    w->user = w->user && (entry & ENTRY_US);
    if (mode != MODE_32 && nxe(cpu) && (entry & ENTRY_NX))
        w->exec = false;
    w->accessed = w->accessed && (entry & MODEL_A);
    if (level > 1 && !large) {
        *table = frame;
        return MODEL_NEXT;
    }
    w->dirty = (entry & MODEL_D) != 0;
    w->bytes = 1ull << shift;
    w->gpa = (large ? large_frame(mode, entry, w->bytes) : frame) + a->va % w->bytes;
    return MODEL_PAGE;
}

static bool canonical(uint64_t va)
{
    uint64_t top = va >> 47;
    return top == 0 || top == 0x1ffff;
}

unsigned model_start(const struct model_cpu *cpu, const struct model_access *a, struct model_walk *w,
                     uint64_t *table)
{
    *w = (struct model_walk){ .user = true, .write = true, .exec = true, .accessed = true, .dirty = true };
    switch (mode_of(cpu)) {
    case MODE_NONE:
        w->gpa = a->va;
        return 0;
    case MODE_32:
        *table = cpu->cr3 & bits(31, 12);
        return 2;
    case MODE_PAE: {
        uint64_t pdpte = cpu->pdpte[a->va >> 30];
        *table = pdpte & bits(51, 12);
        if (!(pdpte & ENTRY_P)) {
            page_fault(w, cpu, a, 0);
            return 0;
        }
        return 2;
    }
    case MODE_LONG:
        *table = cpu->cr3 & bits(51, 12);
        if (!canonical(a->va)) {
            w->outcome = MODEL_NOT_CANONICAL;
            return 0;
        }
        return 4;
    }
    return 0;
}

struct model_walk model_walk(const struct model_cpu *cpu, const struct model_access *access)
{
    struct model_access a = *access;
    struct model_walk w;
    uint64_t table = 0;
    enum model_step step = MODEL_NEXT;

    if (mode_of(cpu) != MODE_LONG)
        a.va &= 0xffffffff;
    unsigned level = model_start(cpu, &a, &w, &table);
    if (level == 0)
        return w;
    for (; step == MODEL_NEXT; level--)
        step = model_step(&w, cpu, &a, level, &table);
    if (step == MODEL_PAGE && !model_allowed(cpu, &a, &w))
        page_fault(&w, cpu, &a, ERROR_P);
    return w;
}

bool model_pdptes_ok(const struct model_cpu *cpu, const uint64_t pdpte[4])
{
    uint64_t mask = bits(63, 52) | bits(51, cpu->phys_bits) | bits(8, 5) | bits(2, 1);
    for (unsigned i = 0; i < 4; i++) {
        if ((pdpte[i] & ENTRY_P) && (pdpte[i] & mask))
            return false;
    }
    return true;
}
