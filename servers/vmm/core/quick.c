/* SPDX-License-Identifier: BSD-2-Clause */
/* Short ways for the exits that a running guest causes most: CPUID, MOV to and from CR3, INVLPG, HLT in
 * 64-bit mode, by the instruction's plainest encodings, and ports. Each is a list of checks that leave
 * everything to the emulator with nothing changed, then the whole effect, straight from exit page to reply
 * page.
 *
 * The bytes are read anew every time, from where the processor's own tables (shadow_holds) say that it
 * fetched them. */
#include "servers/vmm/core/vmm.h"
#include "servers/vmm/policy/cr.h"

#define CS_LONG BIT(9)
#define ROOM    16 /* bytes up to the page's end: more than any encoding below */

/* 64-bit code without single-stepping or RF, its bytes within one page: the first eight of them. */
static bool code(const struct vmm *v, uint64_t *bytes)
{
    const struct umbra_exit_page *x = v->exit;
    gpa_t at;

    if (!(v->state->efer & EFER_LMA) || !(x->seg[SEG_CS].attributes & CS_LONG) ||
        (x->rflags & (X86_FLAG_TF | X86_FLAG_RF)) || (x->rip & (PAGE_BYTES - 1)) > PAGE_BYTES - ROOM)
        return false;
    return shadow_holds(v->shadow, (gva_t){ x->rip }, &at) && gmem_read64(&v->mem, at, bytes) == GMEM_OK;
}

static bool retired(struct vmm *v, unsigned length)
{
    struct umbra_reply_page *reply = v->reply;

    reply->rip = v->exit->rip + length;
    reply->shadow = 0;
    reply->groups |= STATE_RIP;
    return true;
}

static void set_gpr(struct vmm *v, unsigned i, uint64_t value)
{
    v->reply->gpr[i] = value;
    v->reply->gpr_mask |= 1u << i;
    v->reply->groups |= STATE_GPRS;
}

bool vmm_quick_cpuid(struct vmm *v)
{
    const struct umbra_exit_page *x = v->exit;
    uint64_t bytes;

    if (!code(v, &bytes) || (bytes & 0xffff) != 0xa20f)
        return false;
    struct cpuid_regs r = cpuid_guest(v->cpuid, (uint32_t)x->gpr[RAX], (uint32_t)x->gpr[RCX]);
    struct umbra_reply_page *reply = v->reply;
    reply->gpr[RAX] = r.eax;
    reply->gpr[RCX] = r.ecx;
    reply->gpr[RDX] = r.edx;
    reply->gpr[RBX] = r.ebx;
    reply->gpr_mask = 1u << RAX | 1u << RCX | 1u << RDX | 1u << RBX;
    reply->groups = STATE_GPRS;
    return retired(v, 2);
}

bool vmm_quick_hlt(struct vmm *v)
{
    uint64_t bytes;

    if (!code(v, &bytes) || (bytes & 0xff) != 0xf4 || v->exit->cpl)
        return false;
    VMM_SET(v, halted, 1);
    return retired(v, 1);
}

/* An optional REX, then 0F op; *modrm is the byte behind it, with REX.B as bit 8. Returns the length up to
 * and with modrm, 0 if it is another instruction. */
static unsigned two_byte(uint64_t bytes, uint8_t op, unsigned *modrm)
{
    unsigned rex = (bytes & 0xf0) == 0x40, rex_b = rex ? bytes & 1 : 0;

    if (rex && (bytes & 4)) /* REX.R names another register or instruction */
        return 0;
    bytes >>= 8 * rex;
    *modrm = (bytes >> 16 & 0xff) | rex_b << 8;
    return (bytes & 0xffff) == (0x0fu | (unsigned)op << 8) ? rex + 3 : 0;
}

/* The register that modrm's low bits name. */
static unsigned rm(unsigned modrm)
{
    return (modrm & 7) + (modrm >> 8) * 8;
}

static bool write_cr3(struct vmm *v, uint64_t value)
{
    const struct vmm_state *s = v->state;
    struct cr_state old = { s->cr0, s->cr3, s->cr4, 0, s->efer, true };
    struct cr_limits limits = { .cr3_long_reserved = CR3_LONG_RESERVED };

    if (cr_write_cr3(&old, &limits, value).gp || shadow_cr3(v->shadow, value, &v->ops) != SHADOW_OK)
        return false;
    if (s->cr3 != value)
        VMM_SET(v, cr3, value);
    return true;
}

/* 0F 20 /3: from CR3; 0F 22 /3: to CR3. The mod bits do not matter (APM vol. 3, MOV CRn). */
bool vmm_quick_cr3(struct vmm *v)
{
    uint64_t bytes;
    unsigned modrm, length;

    if (v->exit->cpl || !code(v, &bytes))
        return false;
    if ((length = two_byte(bytes, 0x22, &modrm)) && (modrm & 0x38) == 0x18)
        return write_cr3(v, v->exit->gpr[rm(modrm)]) && retired(v, length);
    if (!(length = two_byte(bytes, 0x20, &modrm)) || (modrm & 0x38) != 0x18)
        return false;
    set_gpr(v, rm(modrm), v->state->cr3);
    return retired(v, length);
}

/* 0F 01 /7 with a plain [register]: mod 0, and neither SIB nor RIP-relative. */
bool vmm_quick_invlpg(struct vmm *v)
{
    uint64_t bytes;
    unsigned modrm, length;

    if (v->exit->cpl || !code(v, &bytes) || !(length = two_byte(bytes, 0x01, &modrm)) ||
        (modrm & 0xf8) != 0x38 || (modrm & 7) == 4 || (modrm & 7) == 5)
        return false;
    uint64_t va = v->exit->gpr[rm(modrm)];
    if (va + BIT(47) >= BIT(48))
        return false;
    shadow_invlpg(v->shadow, (gva_t){ va }, &v->ops);
    return retired(v, length);
}

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

/* IN of one or two bytes whose copy stands right behind it: the guest will do it again at once, so both are
 * done in this exit. Nothing that the guest could see happens between them: an interrupt may always come
 * later, and no breakpoint is armed. Returns the length of what else was done. */
static unsigned in_again(struct vmm *v, unsigned port, unsigned width, uint32_t *value)
{
    uint64_t bytes, length = v->exit->info[1] - v->exit->rip;

    if (length - 1 > 1 || v->exit->cpl || (v->state->dr7 & 0xff) || !code(v, &bytes))
        return 0;
    uint64_t mask = (1ull << 8 * length) - 1;
    if (((bytes ^ bytes >> 8 * length) & mask) != 0)
        return 0;
    vmm_bus.in(v, port, width, value);
    return (unsigned)length;
}

/* Ports: the processor says port, width and the next RIP. */
bool vmm_quick_io(struct vmm *v)
{
    const struct umbra_exit_page *x = v->exit;
    uint64_t info = x->info[0];
    unsigned port = EXIT_IO_PORT(info), width = EXIT_IO_WIDTH(info), more = 0;
    uint32_t value;

    if ((info & (EXIT_IO_STRING | EXIT_IO_REP)) || !x->info[1] || (x->rflags & (X86_FLAG_TF | X86_FLAG_RF)))
        return false;
    if (info & EXIT_IO_IN) {
        vmm_bus.in(v, port, width, &value);
        more = in_again(v, port, width, &value);
        uint64_t mask = width == 4 ? 0xffffffff : (1ull << 8 * width) - 1;
        set_gpr(v, RAX, width == 4 ? value : (x->gpr[RAX] & ~mask) | (value & mask));
    } else {
        vmm_bus.out(v, port, width, (uint32_t)x->gpr[RAX]);
    }
    v->reply->rip = x->info[1] + more;
    v->reply->shadow = 0;
    v->reply->groups |= STATE_RIP;
    return true;
}
