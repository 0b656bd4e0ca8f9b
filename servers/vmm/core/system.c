/* SPDX-License-Identifier: BSD-2-Clause */
/* CPUID, MSRs and control registers: policy decides (servers/vmm/policy), here the decision is carried out.
 */
#include "servers/vmm/core/vmm.h"
#include "servers/vmm/policy/cr.h"

#define CS_LONG BIT(9)

static uint64_t general_protection(void)
{
    return EVENT_MAKE(X86_VECTOR_GP, EVENT_EXCEPTION) | EVENT_HAS_ERROR;
}

static enum x86_bus_result gp(struct x86_fault *fault)
{
    *fault = (struct x86_fault){ general_protection(), 0 };
    return X86_BUS_FAULT;
}

void vmm_cpuid(struct vmm *v)
{
    struct x86_cpu *c = &v->cpu;
    struct cpuid_regs r = cpuid_guest(v->cpuid, (uint32_t)c->gpr[RAX], (uint32_t)c->gpr[RCX]);

    if (!lapic_enabled(&v->state->machine.lapic))
        cpuid_hide_apic((uint32_t)c->gpr[RAX], &r);
    c->gpr[RAX] = r.eax;
    c->gpr[RBX] = r.ebx;
    c->gpr[RCX] = r.ecx;
    c->gpr[RDX] = r.edx;
}

static struct cr_state state_of(const struct x86_cpu *cpu)
{
    return (struct cr_state){ cpu->cr0, cpu->cr3,  cpu->cr4,
                              cpu->cr8, cpu->efer, cpu->seg[SEG_CS].attributes & CS_LONG };
}

/* Take an accepted change: tell the shadow MMU first, it may refuse PAE's page-directory pointers. */
static enum x86_bus_result take(struct vmm *v, struct x86_cpu *cpu, const struct cr_result *r, bool cr3_write,
                                struct x86_fault *fault)
{
    const struct cr_state *n = &r->next;
    enum shadow_status s = SHADOW_OK;

    if (r->gp)
        return gp(fault);
    if (cr3_write)
        s = shadow_cr3(v->shadow, n->cr3, &v->ops);
    else if (n->cr0 != cpu->cr0 || n->cr4 != cpu->cr4 || n->efer != cpu->efer)
        s = shadow_mode(v->shadow, n->cr0, n->cr4, n->efer, &v->ops);
    if (s != SHADOW_OK)
        return gp(fault);
    vmm_store_pdptes(v);
    cpu->cr0 = n->cr0;
    cpu->cr3 = n->cr3;
    cpu->cr4 = n->cr4;
    cpu->cr8 = n->cr8;
    cpu->efer = n->efer;
    return X86_BUS_OK;
}

enum x86_bus_result vmm_write_cr(void *ctx, struct x86_cpu *cpu, unsigned cr, uint64_t value,
                                 struct x86_fault *fault)
{
    struct vmm *v = ctx;
    struct cr_state s = state_of(cpu);
    struct cr_limits limits = cr_limits_of(v->cpuid);
    struct cr_result r;

    switch (cr) {
    case 0:
        r = cr_write_cr0(&s, value);
        break;
    case 2:
        cpu->cr2 = value;
        return X86_BUS_OK;
    case 3:
        r = cr_write_cr3(&s, &limits, value);
        break;
    case 4:
        r = cr_write_cr4(&s, &limits, value);
        break;
    case 8:
        r = cr_write_cr8(&s, value);
        if (!r.gp)
            machine_set_tpr(&v->state->machine, &v->undo.dev, v->now, (uint32_t)r.next.cr8 << 4);
        break;
    default:
        *fault = (struct x86_fault){ EVENT_MAKE(X86_VECTOR_UD, EVENT_EXCEPTION), 0 };
        return X86_BUS_FAULT;
    }
    return take(v, cpu, &r, cr == 3, fault);
}

static struct msr_cpu msr_cpu_of(const struct vmm *v, const struct x86_cpu *cpu)
{
    const struct umbra_exit_page *x = v->exit;
    struct msr_cpu m = { .now = v->now,
                         .tsc_offset = v->state->tsc_offset,
                         .cr = state_of(cpu),
                         .fs_base = cpu->seg[SEG_FS].base,
                         .gs_base = cpu->seg[SEG_GS].base,
                         .apic_base = v->state->machine.lapic.base,
                         .tsc_deadline = v->state->machine.lapic.deadline,
                         .enlighten = v->cpuid->enlighten };

    m.msrs = (struct umbra_msrs){ x->msrs.star,         x->msrs.lstar,          x->msrs.cstar,
                                  x->msrs.sfmask,       x->msrs.kernel_gs_base, x->msrs.sysenter_cs,
                                  x->msrs.sysenter_esp, x->msrs.sysenter_eip };
    return m;
}

enum x86_bus_result vmm_read_msr(void *ctx, const struct x86_cpu *cpu, uint32_t msr, uint64_t *value,
                                 struct x86_fault *fault)
{
    struct vmm *v = ctx;
    struct msr_cpu m = msr_cpu_of(v, cpu);
    struct msr_outcome o = msr_read(&v->state->msr, &m, msr, value);

    return o.gp ? gp(fault) : X86_BUS_OK;
}

static void tell_device(struct vmm *v, const struct msr_outcome *o, const struct msr_cpu *m)
{
    struct machine *machine = &v->state->machine;

    if (o->device == MSR_DEVICE_APIC_BASE)
        machine_set_apic_base(machine, &v->undo.dev, v->now, m->apic_base);
    else if (o->device == MSR_DEVICE_TSC_DEADLINE)
        machine_set_deadline(machine, &v->undo.dev, v->now, m->tsc_deadline);
    else if (o->groups & STATE_TSC)
        machine_set_tsc(machine, &v->undo.dev, v->now, m->tsc_offset);
}

enum x86_bus_result vmm_write_msr(void *ctx, struct x86_cpu *cpu, uint32_t msr, uint64_t value,
                                  struct x86_fault *fault)
{
    struct vmm *v = ctx;
    struct msr_cpu m = msr_cpu_of(v, cpu);
    struct cr_limits limits = cr_limits_of(v->cpuid);
    struct msr_outcome o = msr_write(&v->state->msr, &m, &limits, &v->undo.dev, msr, value);

    if (o.gp)
        return gp(fault);
    tell_device(v, &o, &m);
    if (o.groups & STATE_CONTROL) {
        enum x86_bus_result r = take(v, cpu, &o.cr, false, fault);
        if (r != X86_BUS_OK)
            return r;
    }
    if (o.groups & STATE_SEGMENTS) {
        cpu->seg[SEG_FS].base = m.fs_base;
        cpu->seg[SEG_GS].base = m.gs_base;
    }
    if (o.groups & STATE_MSRS) {
        v->reply->msrs = m.msrs;
        v->reply->groups |= STATE_MSRS;
    }
    if (o.groups & STATE_TSC) {
        VMM_SET(v, tsc_offset, m.tsc_offset);
        vmm_set_tsc(v);
        vmm_tell_clock(v);
    }
    if ((o.device == MSR_DEVICE_KVM_CLOCK && !vmm_tell_clock(v)) ||
        (o.device == MSR_DEVICE_KVM_WALL && !vmm_tell_date(v)))
        return gp(fault);
    return X86_BUS_OK;
}
