/* SPDX-License-Identifier: BSD-2-Clause */
/* See command.h. Everything that a client sent is checked here or refused by init: an answer with "ok": false
 * and an "error" is the worst that nonsense does. */
#include <stdbool.h>
#include <string.h>

#include "base64.h"
#include "command.h"
#include "control_component.h"
#include "json.h"
#include "management.h"
#include "management_types.h"

struct request {
    const struct json_object *o;
    struct json_out *out;
};

/* The answer says "ok" first: nothing else has been printed when a command fails. */
static void ok(struct request *r)
{
    json_bool(r->out, "ok", true);
}

static void error(struct request *r, const char *text)
{
    json_bool(r->out, "ok", false);
    json_text(r->out, "error", text);
}

static const char *text_of(err_t e)
{
    switch (e) {
    case ERR_RANGE:
        return "out of range";
    case ERR_WRONG_STATE:
        return "the guest is not in a state for this";
    case ERR_NO_MEMORY:
        return "there is too little memory";
    case ERR_NO_SUPPORT:
        return "this build or guest cannot do this";
    default:
        return "init refuses";
    }
}

static void done(struct request *r, err_t e)
{
    if (e == ERR_OK)
        ok(r);
    else
        error(r, text_of(e));
}

/* --- guests --- */

static const char *phase_name(guest_phase_t p)
{
    static const char *const names[] = { "waiting", "starting", "running",    "paused",
                                         "stopped", "ended",    "destroying", "vacant" };
    return p < sizeof(names) / sizeof(names[0]) ? names[p] : "?";
}

static bool guest_of(const char *name, uint32_t *number)
{
    struct guest_info info;

    for (*number = 0; management_guest(CAP_MANAGEMENT, *number, &info) == ERR_OK; (*number)++)
        if (info.phase != GUEST_PHASE_VACANT && strcmp(info.name, name) == 0)
            return true;
    return false;
}

static bool server_of(const char *name, uint32_t *number)
{
    struct server_info info;

    for (*number = 0; management_server(CAP_MANAGEMENT, *number, &info) == ERR_OK; (*number)++)
        if (strcmp(info.name, name) == 0)
            return true;
    return false;
}

/* server NULL: a guest it must be. */
static bool find(struct request *r, uint32_t *number, bool *server)
{
    const struct json_field *name = json_find(r->o, "guest", JSON_STRING);

    if (!name) {
        error(r, "which guest? a field \"guest\" is needed");
        return false;
    }
    if (server)
        *server = false;
    if (guest_of(name->text, number))
        return true;
    if (server && server_of(name->text, number))
        return *server = true;
    error(r, "there is no guest of this name");
    return false;
}

static bool find_guest(struct request *r, uint32_t *number)
{
    return find(r, number, NULL);
}

static void print_guest(struct json_out *j, const struct guest_info *g)
{
    json_open(j, NULL, '{');
    json_text(j, "name", g->name);
    json_text(j, "state", phase_name(g->phase));
    json_number(j, "incarnation", g->incarnation);
    json_number(j, "restarts", g->restarts);
    json_number(j, "exits", g->answered);
    json_number(j, "cpu_us", g->cpu_us);
    json_number(j, "memory_bytes", (uint64_t)g->memory_pages << PAGE_SHIFT);
    json_number(j, "vmm_bytes", (uint64_t)g->vmm_pages << PAGE_SHIFT);
    json_bool(j, "successor", g->successor);
    json_text(j, "program", g->program);
    json_text(j, "next", g->next);
    json_text(j, "ended", g->ended);
    json_close(j, '}');
}

static void print_server(struct json_out *j, const struct server_info *s)
{
    json_open(j, NULL, '{');
    json_text(j, "name", s->name);
    json_text(j, "state", s->ended ? "ended" : s->running ? "running" : "starting");
    json_number(j, "incarnation", s->incarnation);
    json_number(j, "restarts", s->restarts);
    json_number(j, "cpu_us", s->cpu_us);
    json_number(j, "bytes", (uint64_t)s->pages << PAGE_SHIFT);
    json_bool(j, "successor", s->successor);
    json_text(j, "ended", s->why);
    json_close(j, '}');
}

static void list(struct request *r, unsigned argument)
{
    struct guest_info info;
    struct server_info server;

    (void)argument;
    ok(r);
    json_open(r->out, "guests", '[');
    for (uint32_t i = 0; management_guest(CAP_MANAGEMENT, i, &info) == ERR_OK; i++)
        if (info.phase != GUEST_PHASE_VACANT)
            print_guest(r->out, &info);
    json_close(r->out, ']');
    json_open(r->out, "servers", '[');
    for (uint32_t i = 0; management_server(CAP_MANAGEMENT, i, &server) == ERR_OK; i++)
        print_server(r->out, &server);
    json_close(r->out, ']');
}

static void act(struct request *r, unsigned action)
{
    uint32_t number;

    if (find_guest(r, &number))
        done(r, management_act(CAP_MANAGEMENT, number, (guest_action_t)action));
}

static void restart_server(struct request *r, unsigned argument)
{
    const struct json_field *name = json_find(r->o, "server", JSON_STRING);
    uint32_t number;

    (void)argument;
    if (!name)
        error(r, "which server? a field \"server\" is needed");
    else if (!server_of(name->text, &number))
        error(r, "there is no server of this name");
    else
        done(r, management_server_restart(CAP_MANAGEMENT, number));
}

static void report(struct request *r, unsigned argument)
{
    const struct json_field *offset = json_find(r->o, "offset", JSON_NUMBER);
    uint8_t text[REPORT_PIECE_MAX + 1];
    uint32_t number, n;
    bool server;

    (void)argument;
    if (!find(r, &number, &server))
        return;
    if (!offset || offset->number > UINT32_MAX) {
        error(r, "a number is missing or too large");
        return;
    }
    uint32_t from = (uint32_t)offset->number;
    err_t e = server ? management_server_report(CAP_MANAGEMENT, number, from, text, &n)
                     : management_report(CAP_MANAGEMENT, number, from, text, &n);
    done(r, e);
    if (e != ERR_OK)
        return;
    text[n] = 0;
    json_text(r->out, "text", (const char *)text);
    json_number(r->out, "bytes", n);
}

/* --- audits --- */

static void audit(struct request *r, unsigned argument)
{
    uint32_t number;

    (void)argument;
    if (find_guest(r, &number))
        done(r, management_audit(CAP_MANAGEMENT, number));
}

static void audited(struct request *r, unsigned argument)
{
    struct audit_info a;
    uint32_t number;

    (void)argument;
    if (!find_guest(r, &number))
        return;
    err_t e = management_audited(CAP_MANAGEMENT, number, &a);
    done(r, e);
    if (e != ERR_OK)
        return;
    json_bool(r->out, "finished", a.finished);
    json_number(r->out, "exit", a.number);
    json_number(r->out, "incarnation", a.incarnation);
    json_number(r->out, "entries", a.entries);
    json_number(r->out, "unsynced", a.unsynced);
    json_number(r->out, "differences", a.differences);
    json_text(r->out, "first", a.first);
    json_number(r->out, "kernel_tables", a.kernel_tables);
    json_number(r->out, "kernel_entries", a.kernel_entries);
    json_number(r->out, "violations", a.violations);
    json_number(r->out, "tlb_entries", a.tlb_entries);
    json_number(r->out, "tlb_losses", a.tlb_losses);
    json_number(r->out, "tlb_begun", a.tlb_begun);
    json_number(r->out, "tlb_emptied", a.tlb_emptied);
    json_number(r->out, "tlb_owed", a.tlb_owed);
    json_number(r->out, "tlb_needless", a.tlb_needless);
    json_number(r->out, "tlb_sampled", a.tlb_sampled);
    json_number(r->out, "tlb_spared", a.tlb_spared);
}

static bool find_number(struct request *r, const char *key, uint32_t *value)
{
    const struct json_field *f = json_find(r->o, key, JSON_NUMBER);

    if (f && f->number <= UINT32_MAX) {
        *value = (uint32_t)f->number;
        return true;
    }
    error(r, "a number is missing or too large");
    return false;
}

/* --- guests that are created --- */

static const char *refusal(err_t e)
{
    switch ((uint32_t)e) {
    case MANAGEMENT_ERR_NAME:
        return "a guest's name is a letter, then at most 30 letters, digits, - and _";
    case MANAGEMENT_ERR_TAKEN:
        return "the name is taken";
    case MANAGEMENT_ERR_SIZE:
        return "the memory is less than 4 MB, or more than a place takes";
    case MANAGEMENT_ERR_SHARE:
        return "the share of the processor is not 1 to 100 hundredths, or more than a place has";
    case MANAGEMENT_ERR_IMAGE:
        return "there is no such kernel or initramfs among the boot modules";
    case MANAGEMENT_ERR_PLACE:
        return "all places for created guests are taken";
    case ERR_NO_MEMORY:
        return "too little of the memory for created guests is left";
    case ERR_NO_SUPPORT:
        return "this system sets nothing aside for created guests";
    default:
        return text_of(e);
    }
}

/* "" where it is not there. */
static const char *text_field(const struct request *r, const char *key, size_t most)
{
    const struct json_field *f = json_find(r->o, key, JSON_STRING);

    return !f ? "" : f->bytes <= most && strlen(f->text) == f->bytes ? f->text : NULL;
}

static void create(struct request *r, unsigned argument)
{
    const char *name = text_field(r, "guest", DESC_NAME_MAX), *line = text_field(r, "line", CREATE_LINE_MAX);
    const char *kernel = text_field(r, "kernel", DESC_NAME_MAX),
               *initrd = text_field(r, "initrd", DESC_NAME_MAX);
    const struct json_field *share = json_find(r->o, "percent", JSON_NUMBER);
    uint32_t bytes, percent = 0;

    (void)argument;
    if (!find_number(r, "bytes", &bytes) || (share && !find_number(r, "percent", &percent)))
        return;
    err_t e = !name                                      ? MANAGEMENT_ERR_NAME
              : !kernel || !initrd                       ? MANAGEMENT_ERR_IMAGE
              : share && (percent == 0 || percent > 100) ? MANAGEMENT_ERR_SHARE
              : bytes % PAGE_BYTES                       ? MANAGEMENT_ERR_SIZE
                                                         : ERR_OK;
    if (!line) {
        error(r, "the command line is longer than 255 characters");
        return;
    }
    if (e == ERR_OK)
        e = management_create(CAP_MANAGEMENT, (uint32_t)(bytes >> PAGE_SHIFT), percent, name, kernel, initrd,
                              line);
    if (e == ERR_OK)
        ok(r);
    else
        error(r, refusal(e));
}

static void destroy(struct request *r, unsigned argument)
{
    uint32_t number;

    (void)argument;
    if (!find_guest(r, &number))
        return;
    err_t e = management_destroy(CAP_MANAGEMENT, number);
    if (e == ERR_NO_SUPPORT)
        error(r, "it was described, not created: it can be stopped");
    else
        done(r, e);
}

static void places(struct request *r, unsigned argument)
{
    struct places_info p;

    (void)argument;
    err_t e = management_places(CAP_MANAGEMENT, &p);
    done(r, e);
    if (e != ERR_OK)
        return;
    json_number(r->out, "places", p.places);
    json_number(r->out, "vacant", p.vacant);
    json_number(r->out, "most_bytes", (uint64_t)p.most_pages << PAGE_SHIFT);
    json_number(r->out, "bytes", (uint64_t)p.pages << PAGE_SHIFT);
    json_number(r->out, "left_bytes", (uint64_t)p.left_pages << PAGE_SHIFT);
    json_number(r->out, "mapped_bytes", (uint64_t)p.mapped_pages << PAGE_SHIFT);
}

/* --- upgrades --- */

static void upload(struct request *r, unsigned argument)
{
    uint32_t number, bytes, crc;

    (void)argument;
    if (!find_guest(r, &number) || !find_number(r, "bytes", &bytes) || !find_number(r, "crc", &crc))
        return;
    if (bytes == 0 || bytes > UPGRADE_IMAGE_MAX)
        error(r, "the file is empty or too large");
    else
        done(r, management_upload(CAP_MANAGEMENT, number, bytes, crc));
}

static void piece(struct request *r, unsigned argument)
{
    const struct json_field *data = json_find(r->o, "data", JSON_STRING);
    uint8_t bytes[UPGRADE_PIECE_MAX];
    uint32_t offset, n;

    (void)argument;
    if (!find_number(r, "offset", &offset))
        return;
    if (!data || !base64_read(data->text, data->bytes, bytes, sizeof(bytes), &n))
        error(r, "\"data\" is missing, too long or not in base64");
    else
        done(r, management_piece(CAP_MANAGEMENT, offset, bytes, n));
}

static void upgrade(struct request *r, unsigned argument)
{
    uint32_t number;

    (void)argument;
    if (find_guest(r, &number))
        done(r, management_upgrade(CAP_MANAGEMENT, number));
}

static void upgraded(struct request *r, unsigned argument)
{
    static const char *const names[] = { "none", "uploading", "preparing", "done", "refused" };
    char text[96];
    upgrade_phase_t phase;
    uint32_t number;

    (void)argument;
    if (!find_guest(r, &number))
        return;
    err_t e = management_upgraded(CAP_MANAGEMENT, number, &phase, text);
    done(r, e);
    if (e != ERR_OK)
        return;
    json_text(r->out, "phase", phase < sizeof(names) / sizeof(names[0]) ? names[phase] : "?");
    json_text(r->out, "text", text);
}

#if UMBRA_DEBUG
static void crash(struct request *r, unsigned argument)
{
    (void)r, (void)argument;
    __builtin_trap();
}
#endif

/* --- dispatch --- */

static const struct {
    const char *name;
    void (*run)(struct request *r, unsigned argument);
    unsigned argument;
} commands[] = {
    { "list", list, 0 },
    { "pause", act, GUEST_ACTION_PAUSE },
    { "resume", act, GUEST_ACTION_RESUME },
    { "stop", act, GUEST_ACTION_STOP },
    { "start", act, GUEST_ACTION_START },
    { "kill-vmm", act, GUEST_ACTION_KILL },
    { "hang-vmm", act, GUEST_ACTION_HANG },
    { "restart-vmm", act, GUEST_ACTION_RESTART },
    { "restart-server", restart_server, 0 },
    { "crash-report", report, 0 },
    { "audit", audit, 0 },
    { "audited", audited, 0 },
    { "upload", upload, 0 },
    { "piece", piece, 0 },
    { "upgrade", upgrade, 0 },
    { "upgraded", upgraded, 0 },
    { "create", create, 0 },
    { "destroy", destroy, 0 },
    { "places", places, 0 },
#if UMBRA_DEBUG
    { "crash-control", crash, 0 }, /* for the test of what becomes of the guests then */
#endif
};

static void run(struct request *r)
{
    const struct json_field *name = json_find(r->o, "command", JSON_STRING);

    if (!name) {
        error(r, "a field \"command\" is needed");
        return;
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(name->text, commands[i].name) == 0) {
            commands[i].run(r, commands[i].argument);
            return;
        }
    error(r, "unknown command");
}

size_t command_answer(char *line, size_t bytes, bool too_long, char *to)
{
    struct json_out out = { .to = to, .room = ANSWER_MAX };
    struct json_object o = { .fields = 0 };
    struct request r = { &o, &out };
    const char *wrong = too_long ? "the line is too long" : json_read(line, bytes, &o);
    const struct json_field *id = json_find(&o, "id", JSON_NUMBER);

    json_open(&out, NULL, '{');
    if (id)
        json_number(&out, "id", id->number);
    if (wrong)
        error(&r, wrong);
    else
        run(&r);
    json_close(&out, '}');
    json_end(&out);
    if (!out.full)
        return out.used;
    static const char full[] = "{\"ok\":false,\"error\":\"the answer is too long\"}\n";
    memcpy(to, full, sizeof(full) - 1);
    return sizeof(full) - 1;
}
