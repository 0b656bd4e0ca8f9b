/* SPDX-License-Identifier: BSD-2-Clause */
/* See report.h. Without frame pointers a backtrace is what lies on the stack and could be a return address:
 * some are of calls that have returned. docs/troubleshooting.md says how to read it. */
#include "servers/init/report.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void clean_text(const char *text, char *to, size_t room, char newline)
{
    size_t n = 0;

    for (; n + 1 < room && text[n]; n++)
        to[n] = text[n] == '\n' ? newline : text[n] < ' ' || text[n] > '~' ? '?' : text[n];
    to[n] = 0;
}

/* --- the stack --- */

bool report_follows_call(const uint8_t *text, uint64_t address, uint64_t bytes, uint64_t at)
{
    /* call r/m64 is FF /2 and two to seven bytes long: the length that ModRM and SIB say */
    static const uint8_t lengths[] = { 2, 3, 4, 6, 7 };
    uint64_t before = at - address;

    if (at < address || before >= bytes)
        return false;
    const uint8_t *p = text + before;
    if (before >= 5 && p[-5] == 0xe8)
        return true;
    for (unsigned i = 0; i < sizeof(lengths); i++) {
        unsigned n = lengths[i];
        if (before < n || p[-(int)n] != 0xff || (p[1 - (int)n] >> 3 & 7) != 2)
            continue;
        unsigned mod = p[1 - (int)n] >> 6, rm = p[1 - (int)n] & 7, sib = mod != 3 && rm == 4;
        unsigned offset = mod == 1 ? 1 : mod == 2 || (mod == 0 && rm == 5) ? 4 : 0;
        if (sib && mod == 0 && n > 2 && (p[2 - (int)n] & 7) == 5)
            offset = 4;
        if (n == 2 + sib + offset)
            return true;
    }
    return false;
}

void report_scan(struct report *r, const uint64_t *stack, uint32_t words, const uint8_t *text,
                 uint64_t address, uint64_t bytes)
{
    for (uint32_t i = 0; i < words && r->calls < REPORT_CALLS; i++)
        if (report_follows_call(text, address, bytes, stack[i]))
            r->call[r->calls++] = stack[i];
}

/* --- the ring --- */

unsigned report_exits(const struct trace_entry ring[TRACE_ENTRIES], uint64_t seq,
                      struct trace_entry last[REPORT_EXITS])
{
    unsigned n = 0;

    for (uint64_t back = REPORT_EXITS; back-- > 0;) {
        const struct trace_entry *e = &ring[(seq - back) % TRACE_ENTRIES];
        if (back < seq && e->seq == seq - back)
            last[n++] = *e;
    }
    return n;
}

/* --- the text --- */

struct out {
    char *to;
    size_t bytes;
};

/* A line, or nothing if there is no room for all of it. */
__attribute__((format(printf, 2, 3))) static void say(struct out *o, const char *format, ...)
{
    size_t room = REPORT_TEXT_BYTES - o->bytes;
    va_list list;

    va_start(list, format);
    int n = vsnprintf(o->to + o->bytes, room, format, list);
    va_end(list);
    if (n > 0 && (size_t)n + 1 < room) {
        o->bytes += (size_t)n;
        o->to[o->bytes++] = '\n';
    }
}

static const char *kind_name(uint64_t kind)
{
    static const char *const names[] = EXIT_KIND_NAMES;
    return kind < EXIT_KINDS ? names[kind] : "?";
}

static void say_regs(struct out *o, const struct report_regs *r)
{
    say(o, "rip %016lx rsp %016lx flags %lx fs %lx", r->rip, r->rsp, r->rflags, r->fs);
    say(o, "rax %016lx rcx %016lx rdx %016lx rbx %016lx", r->rax, r->rcx, r->rdx, r->rbx);
    say(o, "rbp %016lx rsi %016lx rdi %016lx r8  %016lx", r->rbp, r->rsi, r->rdi, r->r8);
    say(o, "r9  %016lx r10 %016lx r11 %016lx r12 %016lx", r->r9, r->r10, r->r11, r->r12);
    say(o, "r13 %016lx r14 %016lx r15 %016lx", r->r13, r->r14, r->r15);
    say(o, "at %#lx", r->rip);
}

static void say_guest(struct out *o, const struct umbra_exit_page *x, const struct trace_state *s)
{
    static const char *const names[GPRS] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                             "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };

    say(o, "guest rip %016lx flags %lx cpl %u cs %x base %lx ss %x", x->rip, x->rflags, x->cpl,
        x->seg[SEG_CS].selector, x->seg[SEG_CS].base, x->seg[SEG_SS].selector);
    for (unsigned i = 0; i < GPRS; i += 4)
        say(o, "guest %-3s %016lx %-3s %016lx %-3s %016lx %-3s %016lx", names[i], x->gpr[i], names[i + 1],
            x->gpr[i + 1], names[i + 2], x->gpr[i + 2], names[i + 3], x->gpr[i + 3]);
    say(o, "guest cr0 %lx cr2 %lx cr3 %lx cr4 %lx efer %lx", s->cr0, x->cr2, s->cr3, s->cr4, s->efer);
}

/* The letters of the steps, the first of them first; a digit that is none has a point. */
static const char *steps_text(uint64_t steps, const char letters[16], char to[17])
{
    unsigned n = 0;

    while (n < 16 && steps >> 4 * n)
        n++;
    for (unsigned i = 0; i < n; i++)
        to[i] = letters[steps >> 4 * (n - 1 - i) & 15];
    to[n] = 0;
    return to;
}

static void say_exit(struct out *o, const struct report *r)
{
    static const char letters[17] = TRACE_STEP_LETTERS ".........";
    const struct umbra_exit_page *x = &r->exit;
    struct trace_entry last[REPORT_EXITS];
    char length[8] = "", steps[17], entries[32];

    if (x->ilen && x->ilen <= 15)
        snprintf(length, sizeof(length), " +%u", x->ilen);
    say(o, "exit %lu %s, %s: rip %#lx%s info %#lx %#lx %#lx interrupted %#lx events %#lx", x->seq,
        kind_name(x->kind), x->seq > r->answered ? "not answered" : "answered", x->rip, length, x->info[0],
        x->info[1], x->info[2], x->interrupted, x->events);
    say_guest(o, x, &r->trace.state);
    say(o, "input taken %lu", r->trace.state.input_taken);
    unsigned n = report_exits(r->trace.ring, x->seq, last);
    for (unsigned i = 0; i < n; i++) {
        snprintf(entries, sizeof(entries), " entries %lu", last[i].produced);
        say(o, "trace %lu %-11s rip %#lx info %#lx %#lx%s%s%s, %ld ticks before", last[i].seq,
            kind_name(last[i].kind), last[i].rip, last[i].info[0], last[i].info[1],
            last[i].steps ? " steps " : "", steps_text(last[i].steps, letters, steps),
            last[i].produced ? entries : "", (long)(x->tsc - last[i].tsc));
    }
}

static void say_lines(struct out *o, const struct console_trace *t)
{
    static const char letters[17] = LINE_STEP_LETTERS ".........";
    char steps[17];

    for (uint64_t n = t->lines > LINE_TRACES ? t->lines - LINE_TRACES : 0; n < t->lines; n++) {
        const struct line_trace *l = &t->line[n % LINE_TRACES];
        say(o, "line %lu: guest %u, entry %lu of exit %lu, answered %lu, %u bytes, steps %s", n, l->guest,
            l->position, l->seq, l->answered, l->length, steps_text(l->steps, letters, steps));
    }
}

static void say_inputs(struct out *o, const struct console_trace *t)
{
    static const char letters[17] = INPUT_STEP_LETTERS "......";
    char steps[17], guest[16];

    for (uint64_t n = t->inputs > INPUT_TRACES ? t->inputs - INPUT_TRACES : 0; n < t->inputs; n++) {
        const struct input_trace *i = &t->input[n % INPUT_TRACES];
        snprintf(guest, sizeof(guest), i->guest == INPUT_NOBODY ? "nobody" : "guest %u", i->guest);
        say(o, "typed %lu: %#x to %s behind %lu, count %lu, released %lu, answered %lu, steps %s", n, i->byte,
            guest, i->position, i->count, i->released, i->answered, steps_text(i->steps, letters, steps));
    }
}

size_t report_write(const struct report *r, const char *name, char *to)
{
    struct out o = { to, 0 };

    say(&o, "%s", r->why);
    say(&o, "component %s, program %s, incarnation %u", name, r->program, r->incarnation);
    if (r->has_exit && r->deaths > 1)
        say(&o, "death %u in a row at this exit", r->deaths);
    if (r->has_regs)
        say_regs(&o, &r->regs);
    for (uint32_t i = 0; i < r->calls && i < REPORT_CALLS; i++)
        say(&o, "called from %#lx", r->call[i]);
    if (r->has_exit)
        say_exit(&o, r);
    say_lines(&o, &r->lines);
    say_inputs(&o, &r->lines);
    return o.bytes;
}
