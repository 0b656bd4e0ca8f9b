/* SPDX-License-Identifier: BSD-2-Clause */
/* The report of a death. Three steps, so that little of it stands between a death and who takes over:
 * report_take copies what the next incarnation changes, report_look reads the dead process while its memory
 * is still there, report_say makes the text and prints it when the guest is served again. */
#include "servers/init/report.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <umbra/vcpu.h>

#define IPC           ((struct umbra_ipc_buffer *)BOOT_IPC_ADDRESS)
#define REPORTS_WHOLE 16u /* chosen: reports of a component in the log; of further ones their first line */

/* --- beginning --- */

static struct report *report_of(struct component *c)
{
    if (!c->report)
        c->report = calloc(1, sizeof(*c->report));
    return c->report;
}

static const struct desc_map *segment_of(const struct init *in, const struct component *c)
{
    for (const struct desc_record *r = desc_next(&in->desc, NULL); r; r = desc_next(&in->desc, r)) {
        const struct desc_map *m = (const void *)r;
        if (r->op == DESC_OP_MAP && r->component == c->d->head.component && m->address >= DESC_SEGMENT &&
            m->address < DESC_MODULE)
            return m;
    }
    return NULL;
}

void report_begin(struct init *in)
{
    for (uint32_t i = 0; i < in->desc.header.components; i++) {
        struct component *c = &in->component[i];
        const struct desc_map *m = segment_of(in, c);
        uint64_t at = INIT_STATES + i * 2 * PAGE_BYTES;

        uint32_t pages = c->guest ? 2 : 1;
        if (!m || m->count < pages || in->desc.group[m->group].bits != FRAME_4K)
            continue;
        for (uint32_t k = 0; k < pages; k++)
            space_frame(in, &in->space,
                        derived(in, &in->slots, group_cap(&in->group[m->group], m->first + k), RIGHT_READ, 0),
                        FRAME_4K, at + k * PAGE_BYTES, RIGHT_READ);
        if (c->guest)
            c->trace = (const struct trace_pages *)at;
        else
            c->done = (const volatile uint64_t *)at;
        report_of(c);
    }
}

/* --- gathering --- */

bool report_regs(const struct process *p, struct report_regs *r)
{
    uint64_t words[sizeof(*r) / 8];
    struct sys_message m = { .tag = TAG(TCB_READ_REGS, 0) };

    if (sys_call(p->tcb, &m) != ERR_OK)
        return false;
    for (unsigned i = 0; i < sizeof(*r) / 8; i++)
        words[i] = i < MSG_REGISTERS ? m.w[i] : IPC->words[i];
    memcpy(r, words, sizeof(*r));
    return true;
}

void report_take(struct init *in, struct component *c, const struct process *p, const char *how,
                 const char *text)
{
    struct report *r = report_of(c);

    if (!r)
        return;
    if (r->due)
        report_now(in, c);
    snprintf(r->why, sizeof(r->why), "%s: %s", how, text);
    r->due = true;
    r->looked = r->has_regs = r->has_exit = false;
    r->calls = 0;
    r->lines.lines = r->lines.inputs = 0;
    r->of = p;
    r->incarnation = p->info->incarnation;
    const struct console_head *head = (const void *)(uintptr_t)c->done;
    if (p == c->now && head && head->magic == CONSOLE_STATE_MAGIC)
        r->lines = head->trace;
    if (p != c->now || !c->exit || !c->trace)
        return;
    struct sys_message m = { .tag = TAG(VM_STATUS, 0) };
    r->answered = sys_call(in->group[c->guest->vm].cap, &m) == ERR_OK ? m.w[2] : 0;
    r->has_exit = true;
    memcpy(&r->exit, (const void *)(uintptr_t)c->exit, sizeof(r->exit));
    memcpy(&r->trace, c->trace, sizeof(r->trace));
}

/* A page of the dead one's stack at INIT_SCRATCH. A copy of the frame's capability: the frame itself stays
 * where it is mapped. */
static bool stack_open(struct init *in, const struct process *p, uint64_t page)
{
    if (sys_invoke3(SLOT_CNODE, CNODE_COPY, in->scratch_slot, p->stack + (page << 16), RIGHT_READ) != ERR_OK)
        return false;
    if (sys_invoke3(in->scratch_slot, FRAME_MAP, SLOT_VSPACE, INIT_SCRATCH, RIGHT_READ) == ERR_OK)
        return true;
    sys_invoke1(SLOT_CNODE, CNODE_DELETE, in->scratch_slot);
    return false;
}

static void scan_stack(struct init *in, const struct component *c, const struct process *p, struct report *r,
                       const struct image_segment *text)
{
    uint64_t bytes = (c->d->stack_bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1), low = BOOT_STACK_TOP - bytes;
    uint64_t at = r->regs.rsp & ~7ul, end = at + REPORT_STACK * 8ul;

    if (at < low || at >= BOOT_STACK_TOP)
        return; /* it lost its stack */
    if (end > BOOT_STACK_TOP)
        end = BOOT_STACK_TOP;
    while (at < end && r->calls < REPORT_CALLS) {
        uint64_t part = PAGE_BYTES - at % PAGE_BYTES < end - at ? PAGE_BYTES - at % PAGE_BYTES : end - at;
        if (!stack_open(in, p, (at - low) / PAGE_BYTES))
            return;
        report_scan(r, (const uint64_t *)(INIT_SCRATCH + at % PAGE_BYTES), (uint32_t)(part / 8), text->data,
                    text->address, text->file_bytes);
        sys_invoke1(SLOT_CNODE, CNODE_DELETE, in->scratch_slot);
        at += part;
    }
}

void report_look(struct init *in, struct component *c, const struct process *p)
{
    struct report *r = c->report;
    struct image_segment segments[IMAGE_SEGMENTS_MAX];
    unsigned n;

    if (!r || !r->due || r->looked || r->of != p)
        return;
    r->looked = true;
    r->has_regs = report_regs(p, &r->regs);
    r->program = component_image(in, c, p, segments, &n);
    for (unsigned i = 0; i < n && r->has_regs; i++)
        if (segments[i].rights & RIGHT_EXEC)
            scan_stack(in, c, p, r, &segments[i]);
}

/* --- saying --- */

static void print_report(const struct component *c, const struct report *r, const char *text, size_t bytes)
{
    for (const char *line = text, *end; line < text + bytes; line = end + 1) {
        end = memchr(line, '\n', bytes - (size_t)(line - text));
        if (!end)
            break;
        printf("report %s %u: %.*s\n", c->name, r->made, (int)(end - line), line);
    }
    printf("report %s %u end\n", c->name, r->made);
}

static void say_report(struct init *in, struct component *c, struct report *r, bool last)
{
    report_look(in, c, r->of);
    r->due = false;
    r->deaths = c->deaths;
    r->made++;
    char *text = r->kept[r->text];
    size_t bytes = r->bytes[r->text] = report_write(r, c->name, text);
    r->text = (r->text + 1) % REPORT_KEPT;
    r->texts += r->texts < REPORT_KEPT;
    printf("%s: %s\n", c->name, r->why);
    if (r->made <= REPORTS_WHOLE || last)
        print_report(c, r, text, bytes);
}

void report_say(struct init *in, struct component *c)
{
    static const char *const kinds[] = EXIT_KIND_NAMES;

    if (c->report && c->report->due)
        say_report(in, c, c->report, c->deaths > 1);
    if (c->taken_over && c->guest)
        printf("init: %s has taken over at exit %lu (%s)\n", c->name, c->died_at, kinds[c->died_in]);
    else if (c->taken_over)
        printf("init: %s has taken over\n", c->name);
    c->taken_over = false;
}

void report_now(struct init *in, struct component *c)
{
    if (c->guest)
        background_begin(in, c);
    report_say(in, c);
    if (c->guest)
        background_end(in, c);
}

const char *report_text(const struct init *in, const struct component *c, size_t *bytes)
{
    static char joined[REPORT_KEPT * REPORT_TEXT_BYTES + 1];
    const struct report *r = c->report;

    (void)in;
    *bytes = 0;
    for (uint32_t i = 0; r && i < r->texts; i++) {
        uint32_t k = (r->text + REPORT_KEPT - r->texts + i) % REPORT_KEPT;
        memcpy(joined + *bytes, r->kept[k], r->bytes[k]);
        *bytes += r->bytes[k];
    }
    joined[*bytes] = 0;
    return joined;
}
