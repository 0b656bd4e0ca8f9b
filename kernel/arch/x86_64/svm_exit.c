/* SPDX-License-Identifier: BSD-2-Clause */
/* What an exit page says: the processor's exit in Umbra's words, and the state groups that are asked for. */
#include "svm_vcpu.h"
#include "log.h"

static enum exit_kind instruction(struct umbra_exit_page *x, unsigned which)
{
    set_info(x, which, 0);
    return EXIT_INSTRUCTION;
}

static enum exit_kind exception(struct umbra_exit_page *x, const struct vmcb *b, unsigned vector)
{
    if (vector == 14) {
        set_info(x, b->exit_info2, b->exit_info1);
        return EXIT_PAGE;
    }
    set_info(x, vector, vector == 1 ? b->dr6 : b->exit_info1);
    return EXIT_EXCEPTION;
}

enum exit_kind svm_translate(struct vcpu *v, const struct vmcb *b)
{
    struct umbra_exit_page *x = &v->exit;
    uint32_t code = (uint32_t)b->exit_code;

    set_info(x, 0, 0);
    if (code <= SVM_EXIT_CR_LAST) {
        set_info(x, code, svm.assists ? b->exit_info1 : 0);
        return EXIT_CR;
    }
    if (code <= SVM_EXIT_DR_LAST)
        return EXIT_DR;
    if (code <= SVM_EXIT_EXCEPTION_LAST)
        return exception(x, b, code - SVM_EXIT_EXCEPTION);
    switch (code) {
    case SVM_EXIT_VINTR:
        return EXIT_WINDOW;
    case SVM_EXIT_RDTSC:
    case SVM_EXIT_RDTSCP:
        return instruction(x, INSN_RDTSCP);
    case SVM_EXIT_RDPMC:
        return instruction(x, INSN_RDPMC);
    case SVM_EXIT_CPUID: /* behind a load of CR3 that was served; else arch_vcpu_go_on() knows it */
        return EXIT_CPUID;
    case SVM_EXIT_HLT:
        return EXIT_HLT;
    case SVM_EXIT_RSM:
        return instruction(x, INSN_RSM);
    case SVM_EXIT_INVD:
        return instruction(x, INSN_INVD);
    case SVM_EXIT_INVLPG:
        set_info(x, svm.assists ? b->exit_info1 : 0, svm.assists);
        return EXIT_INVLPG;
    case SVM_EXIT_INVLPGA:
        return instruction(x, INSN_INVLPGA);
    case SVM_EXIT_IOIO:
        set_io_info(x, b);
        return EXIT_IO;
    case SVM_EXIT_MSR:
        set_info(x, b->exit_info1 & 1, 0);
        return EXIT_MSR;
    case SVM_EXIT_TASK_SWITCH:
        return EXIT_TASK_SWITCH;
    case SVM_EXIT_SHUTDOWN:
        return EXIT_SHUTDOWN;
    case SVM_EXIT_WBINVD:
        return instruction(x, INSN_WBINVD);
    case SVM_EXIT_MONITOR:
        return instruction(x, INSN_MONITOR);
    case SVM_EXIT_MWAIT:
    case SVM_EXIT_MWAIT_COND:
        return instruction(x, INSN_MWAIT);
    case SVM_EXIT_RDPRU:
        return instruction(x, INSN_RDPRU);
    case SVM_EXIT_XSETBV:
        return instruction(x, INSN_XSETBV);
    case SVM_EXIT_NPF:
        set_info(x, b->exit_info2, b->exit_info1);
        return EXIT_NPF;
    case SVM_EXIT_INVALID:
        return EXIT_INVALID;
    default:
        break;
    }
    if (code >= SVM_EXIT_VMRUN && code <= SVM_EXIT_SKINIT)
        return instruction(x, INSN_SVM);
    set_info(x, code, b->exit_info1);
    return EXIT_BROKEN;
}

void svm_read_instruction(struct umbra_exit_page *x, const struct vmcb *b)
{
    x->ilen = svm.nrip && b->next_rip - b->rip <= 15 ? b->next_rip - b->rip : 0;
    x->nbytes = svm.assists && b->bytes_fetched <= 15 ? b->bytes_fetched : 0;
    for (unsigned i = 0; i < x->nbytes; i++)
        x->bytes[i] = b->bytes[i];
}

/* By words: the compiler would move each field by itself. */
static inline void read_segments(struct umbra_exit_page *x, const struct vmcb *b)
{
    const uint64_t *from = (const void *)((const uint8_t *)b + offsetof(struct vmcb, seg));
    uint64_t *to = (void *)x->seg;

#pragma GCC unroll 32
    for (unsigned i = 0; i < SEGS * (sizeof(struct umbra_segment) / 8); i++)
        to[i] = from[i];
}

void arch_vcpu_read(struct vcpu *v, uint32_t groups)
{
    const struct vmcb *b = vmcb_of(v);
    struct umbra_exit_page *x = &v->exit;

    if (groups & (STATE_RIP | STATE_RFLAGS | STATE_CR2))
        read_always(v, b);
    if (groups & STATE_SEGMENTS)
        read_segments(x, b);
    if (!(groups & ~(uint32_t)(STATE_RIP | STATE_RFLAGS | STATE_CR2 | STATE_SEGMENTS)))
        return;
    if (groups & STATE_CONTROL) {
        x->cr0 = v->cr0;
        x->cr4 = v->cr4;
        x->efer = v->efer;
        if (v->nested)
            x->cr3 = b->cr3;
    }
    if (groups & STATE_MSRS)
        x->msrs = (struct umbra_msrs){ b->star,           b->lstar,       b->cstar,        b->sfmask,
                                       b->kernel_gs_base, b->sysenter_cs, b->sysenter_esp, b->sysenter_eip };
    if (groups & STATE_DEBUG) {
        for (unsigned i = 0; i < 4; i++)
            x->dr[i] = v->dr[i];
        x->dr6 = b->dr6;
        x->dr7 = b->dr7;
    }
    if (groups & STATE_TSC)
        x->tsc_offset = b->tsc_offset;
}

void arch_vcpu_dump(const struct vcpu *v)
{
    const struct vmcb *b = vmcb_of(v);

    log_printf("  nested paging %lu cr3=%lx asid %u intercepts %x %x %x\n", b->nested,
               b->nested ? b->nested_cr3 : b->cr3, b->asid, b->intercept_cr, b->intercept1, b->intercept2);
}
