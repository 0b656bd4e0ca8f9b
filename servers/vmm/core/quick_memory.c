/* SPDX-License-Identifier: BSD-2-Clause */
/* Short ways for page faults that are no fills: plain moves from and to devices, stores to page tables. As
 * in quick.c, each is a list of checks that leave everything to the emulator with nothing changed, then the
 * whole effect. shadow_fill has walked the guest's tables and allowed the access by then; that the
 * instruction in memory is the one that made it is seen by its address, which must be the fault's. */
#include "servers/vmm/core/quick.h"

/* --- devices in memory --- */

/* MOV of 32 bits between memory and a register. */
struct plain_move {
    unsigned gpr, length;
};

/* The address of a memory operand whose ModRM stands in the low byte, in 64-bit code without segment override
 * (APM vol. 3, 1.4): registers, SIB, displacement; not relative to RIP. *bytes: of all these. */
static inline bool operand(const uint64_t *gpr, uint64_t code, unsigned rex, uint64_t *at, unsigned *bytes)
{
    unsigned mod = code >> 6 & 3, base = (code & 7) + 8 * (rex & 1);
    uint64_t sum = 0;

    if (mod == 3 || (mod == 0 && (code & 7) == 5))
        return false;
    *bytes = 1;
    if ((code & 7) == 4) {
        unsigned index = (code >> 11 & 7) + 4 * (rex & 2);
        code >>= 8;
        *bytes = 2;
        if (index != RSP)
            sum = gpr[index] << (code >> 6 & 3);
        base = (code & 7) + 8 * (rex & 1);
        if (mod == 0 && (code & 7) == 5) {
            *at = sum + (uint64_t)(int32_t)(code >> 8);
            *bytes = 6;
            return true;
        }
    }
    sum += gpr[base];
    if (mod == 1)
        sum += (uint64_t)(int8_t)(code >> 8);
    else if (mod == 2)
        sum += (uint64_t)(int32_t)(code >> 8);
    *bytes += mod == 2 ? 4 : mod;
    *at = sum;
    return true;
}

/* 8B /r or 89 /r, with a REX without W or none: eight bytes at most. */
static bool plain_move(const struct vmm *v, uint64_t bytes, const struct shadow_access *a,
                       struct plain_move *m)
{
    unsigned rex = 0, n;
    uint64_t at;

    m->length = 1;
    if ((bytes & 0xf8) == 0x40) {
        rex = bytes & 7;
        bytes >>= 8;
        m->length = 2;
    }
    if ((bytes & 0xff) != (a->write ? 0x89 : 0x8b) || !operand(v->exit->gpr, bytes >> 8, rex, &at, &n))
        return false;
    m->gpr = (bytes >> 11 & 7) + 2 * (rex & 4);
    m->length += n;
    return at == a->va.v;
}

bool vmm_quick_mmio(struct vmm *v, const struct shadow_access *a, gpa_t gpa)
{
    struct machine *machine = &v->state->machine;
    struct plain_move m;
    uint64_t bytes;
    uint32_t value;

    if (a->user || a->exec || v->interrupted || (gpa.v & (PAGE_BYTES - 1)) > PAGE_BYTES - sizeof(value) ||
        !code(v, &bytes) || !plain_move(v, bytes, a, &m))
        return false;
    if (a->write) {
        if (!machine_write_word(machine, &v->undo.dev, v->now, gpa, (uint32_t)v->exit->gpr[m.gpr]))
            return false;
    } else {
        if (!machine_read_word(machine, &v->undo.dev, v->now, gpa, &value))
            return false;
        set_gpr(v, m.gpr, value);
    }
    return retired(v, m.length);
}

/* --- page tables --- */

/* MOV of a 64-bit register to [base] or [base + disp8], REX.W 89 /r: how kernels write page-table entries.
 * The guest's address must come out as the faulting one. */
static bool plain_store(const struct vmm *v, uint64_t bytes, uint64_t va, uint64_t *value, unsigned *length)
{
    const uint64_t *gpr = v->exit->gpr;
    unsigned rex = bytes & 0xff, modrm = bytes >> 16 & 0xff, mod = modrm >> 6, base = modrm & 7;

    if ((rex & 0xf8) != 0x48 || (bytes >> 8 & 0xff) != 0x89 || mod > 1 || base == 4 ||
        (mod == 0 && base == 5))
        return false;
    uint64_t at = gpr[base + 8 * (rex & 1)] + (mod ? (uint64_t)(int8_t)(bytes >> 24) : 0);
    *value = gpr[(modrm >> 3 & 7) + 2 * (rex & 4)];
    *length = 3 + mod;
    return at == va && va % 8 == 0;
}

/* A write to a shadowed table that shadow_fill left to the emulator. */
bool vmm_quick_store(struct vmm *v, const struct shadow_access *a, const struct fill_out *fill)
{
    uint64_t bytes, value, old;
    unsigned length;
    struct fill_out out = *fill;

    if (a->user || v->interrupted || !code(v, &bytes) || !plain_store(v, bytes, a->va.v, &value, &length) ||
        (!out.bits_set && shadow_translate(v->shadow, a, true, &out) != TRANSLATE_OK) ||
        gmem_kind(&v->map, gfn_of(out.gpa)) != GMEM_RAM || gmem_read64(&v->mem, out.gpa, &old) != GMEM_OK ||
        !undo_guest(&v->undo, out.gpa, old, value, 8) || gmem_write64(&v->mem, out.gpa, value) != GMEM_OK)
        return false;
    shadow_table_written(v->shadow, out.gpa, 8, old, value, &v->ops);
    return retired(v, length);
}

/* REP MOVS and REP STOS, with REX.W or without. */
static bool is_string_store(uint64_t bytes)
{
    unsigned op = (bytes >> 8 & 0xff) == 0x48 ? bytes >> 16 & 0xff : bytes >> 8 & 0xff;

    return (bytes & 0xff) == 0xf3 && (op == 0xa4 || op == 0xa5 || op == 0xaa || op == 0xab);
}

/* A string instruction writes to a shadowed table: the guest clears or copies a page, which is no table any
 * more, or will be written all over. It goes on by itself, without its 64 iterations an exit. */
bool vmm_quick_string(struct vmm *v, const struct shadow_access *a, gpa_t gpa)
{
    uint64_t bytes;

    return !a->user && !v->interrupted && code(v, &bytes) && is_string_store(bytes) &&
           shadow_not_emulated(v->shadow, gpa, &v->ops);
}
