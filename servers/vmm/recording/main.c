/* SPDX-License-Identifier: BSD-2-Clause */
/* The recording VMM: the VMM's own objects, linked so that what goes into its core and comes out of it passes
 * through here (-Wl,--wrap, WRAPPED in tools/umbra/layout.py). The VMM that does not record has none of it.
 *
 * Records go to a ring in memory that outlives this process; `produced` is stored behind whole records, so
 * that a successor goes on behind its predecessor's last one. A full ring is waited for. */
#include "servers/vmm/record/record.h"
#include "lib/vmm_env/env.h"
#include "recorder_types.h"
#include "supervisor.h"
#include "sys/sys.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLUSH_BYTES (RECORD_RING_BYTES / 4) /* chosen: so much waits before the recorder is told */

static struct {
    bool on;
    bool inside;  /* an exit: what is read of guest memory outside is not the core's */
    bool resumed; /* this incarnation's first exit */
    struct record_ring_layout *ring;
    struct vmm_env env;
    struct record_codec codec;
    struct record_access access;
    struct record_text text;
    struct record_answer answer;
    struct vmm_setup setup;
    uint8_t bytes[RECORD_BYTES_MAX];
} * rec;

static bool on(void)
{
    return rec && rec->on;
}

/* --- the ring --- */

static uint64_t waiting(void)
{
    return rec->ring->produced - __atomic_load_n(&rec->ring->taken, __ATOMIC_ACQUIRE);
}

static void flush(void)
{
    while (waiting()) {
        sys_signal(CAP_RECORDED);
        if (waiting()) /* the recorder has used its time up */
            sys_yield();
    }
}

/* What the codec has made becomes part of the recording. */
static void keep(void)
{
    struct record_ring_layout *ring = rec->ring;
    uint64_t n = (uint64_t)(rec->codec.at - rec->bytes), produced = ring->produced;

    if (rec->codec.why) {
        printf("recording ends: %s\n", rec->codec.why);
        fflush(stdout);
        rec->on = false;
        flush();
        return;
    }
    if (RECORD_RING_BYTES - waiting() < n)
        flush();
    for (uint64_t i = 0; i < n; i++)
        ring->data[(produced + i) % RECORD_RING_BYTES] = rec->bytes[i];
    __atomic_store_n(&ring->produced, produced + n, __ATOMIC_RELEASE);
    if (waiting() >= FLUSH_BYTES)
        flush();
}

static struct record_codec *fresh(void)
{
    record_write(&rec->codec, rec->bytes);
    return &rec->codec;
}

/* --- beginnings --- */

bool __real_vmm_init(struct vmm *v, const struct vmm_setup *c);
bool __wrap_vmm_init(struct vmm *v, const struct vmm_setup *c);
bool __wrap_vmm_init(struct vmm *v, const struct vmm_setup *c)
{
    struct vmm_env env;

    if (!__real_vmm_init(v, c) || !vmm_env_open(&env))
        return false;
    if (!(env.config->record_connected & 1))
        return true;
    rec = calloc(1, sizeof(*rec));
    if (!rec)
        return false;
    rec->env = env;
    rec->ring = vmm_record(0);
    rec->ring->magic = RECORD_RING_MAGIC;
    rec->setup = *c;
    rec->on = true;
    return true;
}

static void begin_record(uint64_t tsc, enum vmm_resume result)
{
    const struct vmm_setup *c = &rec->setup;
    const struct vmm_env *env = &rec->env;
    struct record_begin b = { .magic = RECORD_MAGIC,
                              .version = RECORD_VERSION,
                              .state_version = VMM_STATE_VERSION,
                              .state_words = VMM_STATE_WORDS,
                              .incarnation = env->info->incarnation,
                              .result = result,
                              .tsc = tsc,
                              .memory_bytes = c->memory_bytes,
                              .table_count = c->table_count,
                              .first_table = c->tables[0],
                              .tsc_hz = c->tsc_hz,
                              .seconds = (uint64_t)c->seconds,
                              .nested = c->nested,
                              .kernel_bytes = env->kernel_bytes,
                              .kernel_digest = record_digest(env->kernel, env->kernel_bytes),
                              .initrd_bytes = env->initrd_bytes,
                              .initrd_digest = record_digest(env->initrd, env->initrd_bytes),
                              .cpuid = *c->cpuid };
    record_begin(fresh(), &b);
    keep();
}

enum vmm_resume __real_vmm_resume(struct vmm *v, const struct vmm_setup *c, uint64_t tsc);
enum vmm_resume __wrap_vmm_resume(struct vmm *v, const struct vmm_setup *c, uint64_t tsc);
enum vmm_resume __wrap_vmm_resume(struct vmm *v, const struct vmm_setup *c, uint64_t tsc)
{
    enum vmm_resume result = __real_vmm_resume(v, c, tsc);

    if (on())
        begin_record(tsc, result);
    if (rec)
        rec->resumed = true;
    return result;
}

void __real_vmm_start(struct vmm *v, const struct boot_cpu *cpu);
void __wrap_vmm_start(struct vmm *v, const struct boot_cpu *cpu);
void __wrap_vmm_start(struct vmm *v, const struct boot_cpu *cpu)
{
    struct boot_cpu copy = *cpu;

    if (on()) {
        record_start(fresh(), &copy);
        keep();
    }
    __real_vmm_start(v, cpu);
}

/* --- an exit --- */

void __real_vmm_begin(struct vmm *v);
void __wrap_vmm_begin(struct vmm *v);
void __wrap_vmm_begin(struct vmm *v)
{
    if (on()) {
        if (!(v->exit->valid &
              STATE_SEGMENTS)) /* so that the core, here and when it does this again, does not ask */
            v->sync();
        struct umbra_exit_page x = *v->exit;
        record_exit(fresh(), &x);
        keep();
        rec->inside = true;
        if (rec->resumed)
            flush(); /* whoever dies here leaves it for sure */
        rec->resumed = false;
    }
    __real_vmm_begin(v);
}

enum vmm_end __real_vmm_handle(struct vmm *v);
enum vmm_end __wrap_vmm_handle(struct vmm *v);
enum vmm_end __wrap_vmm_handle(struct vmm *v)
{
    enum vmm_end end = __real_vmm_handle(v);
    uint64_t word = end;

    if (on() && end != VMM_RUNS) {
        record_end(fresh(), &word);
        keep();
    }
    return end;
}

void __real_vmm_commit(struct vmm *v);
void __wrap_vmm_commit(struct vmm *v);
void __wrap_vmm_commit(struct vmm *v)
{
    __real_vmm_commit(v);
    if (!on())
        return;
    rec->inside = false;
    record_canonical(v->reply, &rec->answer.reply);
    rec->answer.wake = vmm_wake(v);
    rec->answer.sum = v->undo.sum;
    record_answer(fresh(), v->exit, &rec->answer);
    keep();
    if (v->reply->flags & REPLY_PARK) /* the guest rests: nobody misses the time */
        flush();
}

err_t __real_supervisor_ended(cptr_t object, end_reason_t reason, uint64_t exits, const char *text,
                              const struct guest_state *state);
err_t __wrap_supervisor_ended(cptr_t object, end_reason_t reason, uint64_t exits, const char *text,
                              const struct guest_state *state);
err_t __wrap_supervisor_ended(cptr_t object, end_reason_t reason, uint64_t exits, const char *text,
                              const struct guest_state *state)
{
    if (on())
        flush();
    return __real_supervisor_ended(object, reason, exits, text, state);
}

/* --- the console --- */

size_t __real_machine_take(struct machine *m, struct dev_undo *u, uint64_t now, uint8_t *bytes, size_t max);
size_t __wrap_machine_take(struct machine *m, struct dev_undo *u, uint64_t now, uint8_t *bytes, size_t max);
size_t __wrap_machine_take(struct machine *m, struct dev_undo *u, uint64_t now, uint8_t *bytes, size_t max)
{
    size_t n = __real_machine_take(m, u, now, bytes, max);

    if (on() && rec->inside) { /* also when there is nothing: devices are looked at */
        rec->text.max = (uint32_t)max;
        rec->text.bytes = (uint32_t)n;
        memcpy(rec->text.data, bytes, n);
        record_take(fresh(), &rec->text);
        keep();
    }
    return n;
}

size_t __real_machine_give(struct machine *m, struct dev_undo *u, uint64_t now, const uint8_t *bytes,
                           size_t n);
size_t __wrap_machine_give(struct machine *m, struct dev_undo *u, uint64_t now, const uint8_t *bytes,
                           size_t n);
size_t __wrap_machine_give(struct machine *m, struct dev_undo *u, uint64_t now, const uint8_t *bytes,
                           size_t n)
{
    if (on() && rec->inside) {
        rec->text.max = rec->text.bytes = (uint32_t)n;
        memcpy(rec->text.data, bytes, n);
        record_give(fresh(), &rec->text);
        keep();
    }
    return __real_machine_give(m, u, now, bytes, n);
}

/* --- guest memory --- */

static int accessed(enum record_access_kind kind, gpa_t a, const void *data, size_t bytes, uint64_t expected,
                    int result)
{
    if (!on() || !rec->inside)
        return result;
    rec->access.kind = kind;
    rec->access.result = result;
    rec->access.gpa = a;
    rec->access.bytes = (uint32_t)bytes;
    rec->access.expected = expected;
    if (bytes <= RECORD_DATA_MAX)
        memcpy(rec->access.data, data, bytes);
    record_access(fresh(), &rec->access);
    keep();
    return result;
}

#define ACCESSORS(bits)                                                                                      \
    int __real_gmem_read##bits(const struct gmem *m, gpa_t a, uint##bits##_t *out);                          \
    int __wrap_gmem_read##bits(const struct gmem *m, gpa_t a, uint##bits##_t *out);                          \
    int __wrap_gmem_read##bits(const struct gmem *m, gpa_t a, uint##bits##_t *out)                           \
    {                                                                                                        \
        return accessed(RECORD_READ##bits, a, out, bits / 8, 0, __real_gmem_read##bits(m, a, out));          \
    }                                                                                                        \
    int __real_gmem_write##bits(const struct gmem *m, gpa_t a, uint##bits##_t value);                        \
    int __wrap_gmem_write##bits(const struct gmem *m, gpa_t a, uint##bits##_t value);                        \
    int __wrap_gmem_write##bits(const struct gmem *m, gpa_t a, uint##bits##_t value)                         \
    {                                                                                                        \
        return accessed(RECORD_WRITE##bits, a, &value, bits / 8, 0, __real_gmem_write##bits(m, a, value));   \
    }
ACCESSORS(8)
ACCESSORS(16)
ACCESSORS(32)
ACCESSORS(64)

#define EXCHANGER(bits)                                                                                      \
    int __real_gmem_cas##bits(const struct gmem *m, gpa_t a, uint##bits##_t old, uint##bits##_t value);      \
    int __wrap_gmem_cas##bits(const struct gmem *m, gpa_t a, uint##bits##_t old, uint##bits##_t value);      \
    int __wrap_gmem_cas##bits(const struct gmem *m, gpa_t a, uint##bits##_t old, uint##bits##_t value)       \
    {                                                                                                        \
        return accessed(RECORD_CAS##bits, a, &value, bits / 8, old,                                          \
                        __real_gmem_cas##bits(m, a, old, value));                                            \
    }
EXCHANGER(32)
EXCHANGER(64)

int __wrap_gmem_walk_long(const struct gmem *m, gpa_t root, uint64_t va, struct gmem_walk *w);
int __wrap_gmem_walk_long(const struct gmem *m, gpa_t root, uint64_t va, struct gmem_walk *w)
{
    return gmem_walk_by_reads(m, root, va, w);
}

int __real_gmem_read_bytes(const struct gmem *m, gpa_t a, void *to, size_t bytes);
int __wrap_gmem_read_bytes(const struct gmem *m, gpa_t a, void *to, size_t bytes);
int __wrap_gmem_read_bytes(const struct gmem *m, gpa_t a, void *to, size_t bytes)
{
    return accessed(RECORD_READ_BYTES, a, to, bytes, 0, __real_gmem_read_bytes(m, a, to, bytes));
}

int __real_gmem_write_bytes(const struct gmem *m, gpa_t a, const void *from, size_t bytes);
int __wrap_gmem_write_bytes(const struct gmem *m, gpa_t a, const void *from, size_t bytes);
int __wrap_gmem_write_bytes(const struct gmem *m, gpa_t a, const void *from, size_t bytes)
{
    return accessed(RECORD_WRITE_BYTES, a, from, bytes, 0, __real_gmem_write_bytes(m, a, from, bytes));
}
