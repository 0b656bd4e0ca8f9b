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

/* A store as kernels write page-table entries with. */
struct store {
    uint64_t at, value;
    unsigned length;
};

/* REX.W 89 /r or C7 /0 with a memory operand, its eight bytes or, where it may be longer, 16. */
static void take_store(const struct vmm *v, const uint8_t b[16], struct store *s)
{
    const uint64_t *gpr = v->exit->gpr;
    unsigned rex = b[0], mod = b[2] >> 6, base = b[2] & 7, n = 3;
    bool relative = mod == 0 && base == 5;
    uint64_t at = 0;
    int32_t word;

    if (base == 4) {
        unsigned index = (b[3] >> 3 & 7) + 4 * (rex & 2);
        at = index == 4 ? 0 : gpr[index] << (b[3] >> 6);
        base = b[3] & 7;
        n = 4;
    }
    bool absolute = mod == 0 && base == 5;
    if (!absolute)
        at += gpr[base + 8 * (rex & 1)];
    if (mod == 1)
        at += (uint64_t)(int8_t)b[n++];
    if (mod == 2 || absolute) {
        __builtin_memcpy(&word, b + n, 4);
        at += (uint64_t)word;
        n += 4;
    }
    s->value = gpr[(b[2] >> 3 & 7) + 2 * (rex & 4)];
    if (b[1] == 0xc7) {
        __builtin_memcpy(&word, b + n, 4);
        s->value = (uint64_t)word;
        n += 4;
    }
    s->at = relative ? at + v->exit->rip + n : at;
    s->length = n;
}

/* The guest's address must come out as the faulting one. */
static bool plain_store(const struct vmm *v, uint64_t bytes, uint64_t va, struct store *s)
{
    unsigned op = bytes >> 8 & 0xff, modrm = bytes >> 16 & 0xff, mod = modrm >> 6, base = modrm & 7;
    uint64_t word[2] = { bytes, 0 };
    gpa_t at;

    if ((bytes & 0xf8) != 0x48 || (op != 0x89 && (op != 0xc7 || (modrm & 0x38))) || mod == 3)
        return false;
    bool is_long = op == 0xc7 || mod == 2 || base == 4 || (mod == 0 && base == 5);
    if (is_long && (!shadow_holds(v->shadow, (gva_t){ v->exit->rip + 8 }, &at) ||
                    gmem_read64(&v->mem, at, &word[1]) != GMEM_OK))
        return false;
    take_store(v, (const uint8_t *)word, s);
    return s->at == va && va % 8 == 0;
}

/* A write to a shadowed table that shadow_fill left to the emulator. */
bool vmm_quick_store(struct vmm *v, const struct shadow_access *a, const struct fill_out *fill)
{
    uint64_t bytes, old;
    struct store store;
    struct fill_out out = *fill;

    if (a->user || v->interrupted || !code(v, &bytes) || !plain_store(v, bytes, a->va.v, &store) ||
        (!out.bits_set && shadow_translate(v->shadow, a, true, &out) != TRANSLATE_OK) ||
        gmem_kind(&v->map, gfn_of(out.gpa)) != GMEM_RAM || gmem_read64(&v->mem, out.gpa, &old) != GMEM_OK ||
        !undo_guest(&v->undo, out.gpa, old, store.value, 8) ||
        gmem_write64(&v->mem, out.gpa, store.value) != GMEM_OK)
        return false;
    shadow_table_written(v->shadow, out.gpa, 8, old, store.value, &v->ops);
    return retired(v, store.length);
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

/* Any other instruction of a 64-bit kernel that writes a last table (AND, XCHG, ..): the guest executes it,
 * as the general emulator takes longer than comparing the table does later. */
bool vmm_quick_unsync(struct vmm *v, const struct shadow_access *a, gpa_t gpa)
{
    struct fill_out out;
    uint64_t bytes;

    if (a->user || v->interrupted || !code(v, &bytes) || !shadow_let_write(v->shadow, gpa, &v->ops))
        return false;
    shadow_fill(v->shadow, a, &out, &v->ops); /* whatever it says: the guest tries again */
    return true;
}
