/* SPDX-License-Identifier: BSD-2-Clause */
/* Short ways for the exits that a running guest causes most: CPUID, MOV to and from CR3, INVLPG, HLT in
 * 64-bit mode, by the instruction's plainest encodings, and ports. Each is a list of checks that leave
 * everything to the emulator with nothing changed, then the whole effect, straight from exit page to reply
 * page.
 *
 * The bytes are read anew every time, from where the processor's own tables (shadow_holds) say that it
 * fetched them. */
#include "servers/vmm/core/quick.h"
#include "servers/vmm/policy/cr.h"

__attribute__((noinline)) gpa_t vmm_code_place(const struct vmm *v)
{
    gpa_t at;

    return shadow_holds(v->shadow, (gva_t){ v->exit->rip }, &at) ? at : (gpa_t){ NOWHERE };
}

bool vmm_quick_cpuid(struct vmm *v)
{
    const struct umbra_exit_page *x = v->exit;
    uint64_t bytes;

    if (!code(v, &bytes) || (bytes & 0xffff) != 0xa20f)
        return false;
    struct cpuid_regs r = cpuid_guest(v->cpuid, (uint32_t)x->gpr[RAX], (uint32_t)x->gpr[RCX]);
    uint64_t rip = x->rip;
    struct umbra_reply_page *reply = v->reply;
    reply->groups |= STATE_GPRS | STATE_RIP;
    reply->gpr_mask = 1u << RAX | 1u << RCX | 1u << RDX | 1u << RBX;
    reply->shadow = 0; /* here: both in one store */
    reply->rip = rip + 2;
    reply->gpr[RAX] = r.eax;
    reply->gpr[RCX] = r.ecx;
    reply->gpr[RDX] = r.edx;
    reply->gpr[RBX] = r.ebx;
    return true;
}

bool vmm_quick_hlt(struct vmm *v)
{
    uint64_t bytes;

    if (!code(v, &bytes) || (bytes & 0xff) != 0xf4 || v->exit->cpl)
        return false;
    VMM_SET(v, halted, 1);
    v->restless = true;
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
    if ((value & CR3_LONG_RESERVED) || shadow_cr3(v->shadow, value, &v->ops) != SHADOW_OK)
        return false; /* as cr_write_cr3() has it in long mode */
    if (v->state->cr3 != value)
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

/* The same length. */
static __attribute__((noinline)) unsigned quick_in(struct vmm *v, unsigned port, unsigned width)
{
    uint32_t value;

    vmm_bus.in(v, port, width, &value);
    unsigned more = in_again(v, port, width, &value);
    uint64_t mask = width == 4 ? 0xffffffff : (1ull << 8 * width) - 1;
    set_gpr(v, RAX, width == 4 ? value : (v->exit->gpr[RAX] & ~mask) | (value & mask));
    return more;
}

/* Ports: the processor says port, width and the next RIP. */
bool vmm_quick_io(struct vmm *v)
{
    const struct umbra_exit_page *x = v->exit;
    struct umbra_reply_page *reply = v->reply;
    uint64_t info = x->info[0], next = x->info[1];
    unsigned port = EXIT_IO_PORT(info), width = EXIT_IO_WIDTH(info);

    if (__builtin_expect(info & (EXIT_IO_STRING | EXIT_IO_REP), false) || __builtin_expect(!next, false) ||
        (x->rflags & (X86_FLAG_TF | X86_FLAG_RF)))
        return false;
    if (info & EXIT_IO_IN) {
        next += quick_in(v, port, width);
        reply->groups |= STATE_RIP;
    } else {
        struct vmm_state *s = v->state;
        s->stats.io_writes++;
        reply->groups |= STATE_RIP;
        machine_out(&s->machine, &v->undo.dev, v->now, (uint16_t)port, width, (uint32_t)x->gpr[RAX]);
    }
    reply->shadow = 0;
    reply->rip = next;
    return true;
}
