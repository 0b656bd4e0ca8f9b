/* SPDX-License-Identifier: BSD-2-Clause */
/* The world that histories begin in, built by the first thread with system calls as init builds components,
 * and kept, so that each history begins with a copy. build.c says what there is. */
#include "world.h"
#include "kernel/softtlb.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { META_AT = 0x10000, MODEL_AT = 0x20000, TCB_AT = 0x40000, SCHED_AT = 0x41000, SPACE_AT = 0x42000 };
enum { BUFFER_AT = 0x43000, CNODE_AT = 0x48000, BOOT_END = 0x50000 };

bool whole_trace, bulk_used;
static unsigned char *kept;
static struct cpu kept_cpu;
static uint64_t victim_at, victim_bytes;

void whole_say(const char *format, ...)
{
    va_list args;

    if (!whole_trace)
        return;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
}

void whole_fail(const char *file, int line, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s:%d: ", file, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

struct cap *boot_slots(void)
{
    return phys((hpa_t){ CNODE_AT });
}

struct tcb *init_thread(void)
{
    return phys((hpa_t){ TCB_AT });
}

/* --- as kernel/boot/roottask.c --- */

static struct cap *put(cptr_t slot, unsigned type, uint64_t obj, unsigned bits)
{
    struct cap *c = boot_slots() + slot;

    *c = (struct cap){ .type = type, .rights = RIGHT_ALL, .flags = CAP_ORIGINAL, .obj = obj, .bits = bits };
    cap_insert(c, NULL);
    return c;
}

static void put_all(void)
{
    put(SLOT_CNODE, OBJ_CNODE, CNODE_AT, BOOT_BITS);
    put(SLOT_TCB, OBJ_TCB, TCB_AT, BITS_TCB);
    put(SLOT_VSPACE, OBJ_VSPACE, SPACE_AT, BITS_VSPACE);
    put(SLOT_IPC_BUFFER, OBJ_FRAME, BUFFER_AT, FRAME_4K);
    put(SLOT_SCHED, OBJ_SCHED, SCHED_AT, BITS_SCHED);
    put(SLOT_SCHEDCONTROL, OBJ_SCHEDCONTROL, 0, 0);
    put(SLOT_IRQCONTROL, OBJ_IRQCONTROL, 0, 0);
    put(SLOT_IOPORT, OBJ_IOPORT, 0, 0)->d0 = 0xffff;
    put(SLOT_KERNEL, OBJ_KERNEL, 0, 0);
    put(SLOT_RAM, OBJ_UNTYPED, RAM_AT, RAM_BITS);
    put(SLOT_BULK, OBJ_UNTYPED, BULK_AT, BULK_BITS);
    put(SLOT_DEVICE, OBJ_UNTYPED, DEVICE_AT, DEVICE_BITS)->flags |= CAP_DEVICE;
}

static void start_init(void)
{
    struct tcb *t = init_thread();
    struct sched *s = phys((hpa_t){ SCHED_AT });
    struct cap *slots = boot_slots();

    arch_space_init(phys((hpa_t){ SPACE_AT }));
    *meta_of((hpa_t){ SPACE_AT }) = (struct frame_meta){ META_VSPACE, unique_number() };
    arch_regs_init(&t->regs);
    t->cspace.holder = t->vspace.holder = t->ipc_buffer.holder = OBJ_TCB;
    t->fault.holder = t->sched.holder = t->notification.holder = OBJ_TCB;
    cap_derive(&t->cspace, &slots[SLOT_CNODE], RIGHT_ALL, 0);
    tcb_set_slots(t);
    cap_derive(&t->vspace, &slots[SLOT_VSPACE], RIGHT_ALL, 0);
    cap_derive(&t->ipc_buffer, &slots[SLOT_IPC_BUFFER], RIGHT_ALL, 0);
    cap_derive(&t->sched, &slots[SLOT_SCHED], RIGHT_ALL, 0);
    t->buffer = phys((hpa_t){ BUFFER_AT });
    t->sc = s;
    s->tcb = t;
    s->refill.kind = DEADLINE_REFILL;
    s->budget = s->remaining = s->period = 20000;
    s->ceiling = PRIORITIES - 1;
    t->priority = PRIORITIES - 1;
    t->state = THREAD_READY;
    thread_ready(t);
}

void whole_init(void)
{
    unsigned char *map =
        mmap(NULL, 2 * WHOLE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    phys_base_host =
        map + (WHOLE_BYTES - (uintptr_t)map % WHOLE_BYTES) % WHOLE_BYTES; /* objects are aligned */
    memset(phys_base_host + RAM_AT, 0xd5, 1ul << RAM_BITS);               /* boot hands out memory as it is */
    frame_meta = phys((hpa_t){ META_AT });
    frame_meta_count = WHOLE_FRAMES;
    softtlb_asids(16);
    MUST(softtlb_bytes() <= TCB_AT - MODEL_AT);
    softtlb_open(phys((hpa_t){ MODEL_AT }));
    for (unsigned i = 0; i < IRQ_LINES; i++)
        cpu.irq[i].holder = OBJ_IRQ;
    fake.now = 1000000;
    put_all();
    start_init();
    MUST(enter(IN_LEAVE, 0) == &init_thread()->regs);
    const struct cap *victim = build_world();
    whole_check();
    victim_at = victim->obj;
    victim_bytes = 1ul << victim->bits;
    kept = malloc(WHOLE_BYTES);
    memcpy(kept, phys_base_host, WHOLE_BYTES);
    kept_cpu = cpu;
    arch_keep();
    cap_keep();
}

void whole_reset(void)
{
    memcpy(phys_base_host, kept, BOOT_END);
    memcpy(phys_base_host + RAM_AT, kept + RAM_AT, 1ul << RAM_BITS);
    if (bulk_used)
        memcpy(phys_base_host + BULK_AT, kept + BULK_AT, 1ul << BULK_BITS);
    bulk_used = false;
    cpu = kept_cpu;
    arch_reset();
    cap_reset();
    exits_forget();
    check_tree(); /* the census is of this world again */
}

bool victim_is_whole(void)
{
    uint64_t meta = META_AT + (victim_at >> PAGE_SHIFT) * sizeof(struct frame_meta);

    return !memcmp(phys_base_host + victim_at, kept + victim_at, victim_bytes) &&
           !memcmp(phys_base_host + meta, kept + meta,
                   (victim_bytes >> PAGE_SHIFT) * sizeof(struct frame_meta));
}

void whole_check(void)
{
    check_tree();
    check_spaces();
    check_guests();
    check_exits();
    check_threads();
    check_time();
    check_told();
}

unsigned whole_run(const uint8_t *input, size_t bytes)
{
    unsigned n = 0;

    whole_reset();
    init_acts = bytes >= STEP_BYTES && input[STEP_BYTES - 1] % 4;
    for (; bytes >= STEP_BYTES; input += STEP_BYTES, bytes -= STEP_BYTES, n++) {
        input_step(input);
        whole_say("%u: ", n);
        bool goes_on = whole_step();
        whole_check();
        if (!goes_on)
            break;
    }
    take_everything();
    return n;
}
