/* SPDX-License-Identifier: GPL-3.0-or-later */
/* verb - what people and programs can ask of a station, and how an answer goes back.
 *
 *     socket ─ http ─ api: path ─> verb, right? ─ call ─> the verb's function ─ dmn_call_answer()
 *
 * The table below is the whole local API: method, path, the right that is needed, and a sentence.
 * A `{name}` in a path is the target of the verb. Request and answer are JSON objects; what they
 * hold says berth-api(7). A verb answers each call exactly once, at once or later; a call that is
 * still open when the station stops is answered with -ECANCELED by its owner. One thread: the
 * loop's. Source: design, sections 3 (10) and 6. */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "base/str.h"

enum dmn_right {
        DMN_RIGHT_NONE,
        DMN_RIGHT_READ,
        DMN_RIGHT_OPERATE,
        DMN_RIGHT_ADMIN,
        DMN_RIGHT_STATION, /* of a station at its hub: the verbs under /v1/hub, and no others */
        _DMN_RIGHT_MAX,
        _DMN_RIGHT_INVALID = -EINVAL,
};
const char *dmn_right_to_string(enum dmn_right r);      /* "operate"; NULL outside the list */
enum dmn_right dmn_right_from_string(const char *name); /* _INVALID for others */
/* Is `have` enough for a verb that needs `need`? Each right has those before it; an administrator
 * has a station's too, and a station has no other. */
bool dmn_right_allows(enum dmn_right have, enum dmn_right need) _const_;

/* X(identifier, method, path, right, sentence) */
#define DMN_VERBS(X)                                                                             \
        X(STATION_SHOW, "GET", "/v1/station", READ, "the station, its limits and its health")    \
        X(CONFIG_SHOW, "GET", "/v1/config", READ, "the configuration in force")                  \
        X(RELOAD, "POST", "/v1/reload", ADMIN, "reads the configuration and credentials again")  \
        X(LIMITS_SHOW, "GET", "/v1/limits", READ, "memory and bandwidth over all drives")        \
        X(LIMITS_SET, "PUT", "/v1/limits", OPERATE, "changes the bandwidth over all drives")     \
        X(BAYS_LIST, "GET", "/v1/bays", READ, "all bays and what is in them")                    \
        X(BAY_SHOW, "GET", "/v1/bays/{bay}", READ, "one bay")                                    \
        X(BAY_LOCATE, "POST", "/v1/bays/{bay}/locate", OPERATE, "lights the bay's lamp, or not") \
        X(BAY_MATCH, "POST", "/v1/bays/{bay}/match", OPERATE,                                    \
          "says which drive of which job is in the bay")                                         \
        X(BAY_EJECT, "POST", "/v1/bays/{bay}/eject", OPERATE, "makes the drive safe to remove")  \
        X(PLACES_LIST, "GET", "/v1/places", READ, "all drives that are plugged in, and where")   \
        X(DRIVES_LIST, "GET", "/v1/drives", READ, "the drives of the jobs")                      \
        X(DRIVE_SHOW, "GET", "/v1/drives/{drive}", READ, "one drive")                            \
        X(DRIVE_PAUSE, "POST", "/v1/drives/{drive}/pause", OPERATE, "holds a drive")             \
        X(DRIVE_RESUME, "POST", "/v1/drives/{drive}/resume", OPERATE, "lets it go on")           \
        X(DRIVE_RETRY, "POST", "/v1/drives/{drive}/retry", OPERATE, "tries a drive again")       \
        X(DRIVE_GIVE_UP, "POST", "/v1/drives/{drive}/give-up", OPERATE,                          \
          "ends a drive that will not be copied any further")                                    \
        X(DRIVE_EJECT, "POST", "/v1/drives/{drive}/eject", OPERATE, "as the eject of its bay")   \
        X(DRIVE_RECEIVE, "POST", "/v1/drives/{drive}/receive", OPERATE, "books a drive in")      \
        X(DRIVE_MISSING, "POST", "/v1/drives/{drive}/missing", OPERATE,                          \
          "says that a drive did not come")                                                      \
        X(DRIVE_RECEIPT, "GET", "/v1/drives/{drive}/receipt", READ, "what happened to a drive")  \
        X(DRIVE_LOGS, "GET", "/v1/drives/{drive}/logs", READ, "its runs and copy logs")          \
        X(JOBS_LIST, "GET", "/v1/jobs", READ, "the jobs, newest first")                          \
        X(JOB_IMPORT, "POST", "/v1/jobs", OPERATE, "makes a job from journals")                  \
        X(JOB_SHOW, "GET", "/v1/jobs/{job}", READ, "one job and its drives")                     \
        X(JOB_JOURNALS, "POST", "/v1/jobs/{job}/journals", OPERATE,                              \
          "gives the drives of a job what journals say of them")                                 \
        X(JOB_SHIP, "POST", "/v1/jobs/{job}/ship", OPERATE, "gives a job its shipping data")     \
        X(JOB_RECEIVE, "POST", "/v1/jobs/{job}/receive", OPERATE, "books all its drives in")     \
        X(JOB_CANCEL, "POST", "/v1/jobs/{job}/cancel", OPERATE, "takes a job back")              \
        X(JOB_RETURN, "POST", "/v1/jobs/{job}/return", OPERATE, "its drives were sent back")     \
        X(JOB_DELETE, "DELETE", "/v1/jobs/{job}", ADMIN, "takes a job's record away")            \
        X(JOB_FORGET, "POST", "/v1/jobs/{job}/forget", ADMIN,                                    \
          "takes its addresses and tracking numbers away")                                       \
        X(EVENTS_LIST, "GET", "/v1/events", READ, "the history of jobs and drives")              \
        X(OUTBOX_LIST, "GET", "/v1/outbox", READ, "the events that the job service refused")     \
        X(OUTBOX_RESEND, "POST", "/v1/outbox/{event}/resend", OPERATE,                           \
          "sends a refused event again")                                                         \
        X(OUTBOX_DROP, "POST", "/v1/outbox/{event}/drop", OPERATE, "gives a refused event up")   \
        X(HUB_EVENTS, "POST", "/v1/hub/events", STATION, "takes the events of a station")        \
        X(HUB_JOBS, "GET", "/v1/hub/jobs", STATION, "the jobs that a station needs, with keys")  \
        X(HUB_STATIONS, "GET", "/v1/hub/stations", READ, "the stations that were heard")         \
        X(HUB_DRIVES, "GET", "/v1/hub/drives", READ, "what the stations say of their drives")    \
        X(HUB_CONFLICTS, "GET", "/v1/hub/conflicts", READ, "what cannot be true at once")

enum dmn_verb {
#define X(id, method, path, right, sentence) DMN_VERB_##id,
        DMN_VERBS(X)
#undef X
                _DMN_VERB_MAX,
        _DMN_VERB_INVALID = -EINVAL,
};

struct dmn_verb_info {
        const char *name; /* "BAY_EJECT" */
        const char *method, *path, *sentence;
        enum dmn_right right;
};
/* NULL outside the list. */
const struct dmn_verb_info *dmn_verb_info(enum dmn_verb v);

struct dmn_call {
        enum dmn_verb verb;
        enum dmn_right right; /* of who asks */
        char *who;            /* for the history: "uid 1000 (anna)"; never NULL */
        char *target;         /* decoded; NULL when the path has none */
        json_t *query;        /* object of strings; never NULL */
        json_t *body;         /* object; NULL when there was none */
        /* Called once, by dmn_call_answer() and dmn_call_fail(): `r` is 0 with an answer, or a
         * negative errno with an error. `answer` is borrowed. */
        void (*reply)(void *userdata, int r, json_t *answer, const struct bth_error *error);
        void *userdata;
        /* A list of the answer, of which there may be a thousand members, and which is written
         * without making a tree of all of them: "{…},{…}", to be the array `list_name`. NULL: none.
         * Who sets `takes_lists` writes the answer by dmn_call_written(); for others the list is a
         * part of `answer`. */
        const char *list_name; /* a literal; before the other members in the alphabet */
        struct bth_buf list;
        bool takes_lists;
};

/* Makes a call without reply. Texts are copied, JSON is taken over also on error. Returns 0 or
 * -ENOMEM. */
int dmn_call_new(enum dmn_verb verb, const char *who, enum dmn_right right, const char *target,
                 json_t *query, json_t *body, struct dmn_call **ret_call) _must_check_;
/* Without a reply; wipes what the body holds. NULL is fine; returns NULL. */
struct dmn_call *dmn_call_free(struct dmn_call *c);
DEFINE_CLEANUP(dmn_call_free, struct dmn_call *);

/* The text of an answer with the list of its call; free() it. NULL when there is no memory. */
char *dmn_call_written(const struct dmn_call *c, const json_t *answer) _must_check_;

/* End the call and free it. dmn_call_answer() takes `answer` over; NULL there is answered with
 * -ENOMEM. */
void dmn_call_answer(struct dmn_call *c, json_t *answer);
void dmn_call_fail(struct dmn_call *c, const struct bth_error *error);
/* The same with an error made on the spot: `reason` and a sentence. */
void dmn_call_refuse(struct dmn_call *c, int code, enum bth_reason reason, const char *format, ...)
        _printf_(4, 5);

/* What a call asked for beside its target. Each returns 0 when it is there or absent (then the
 * default stays), and -EINVAL with the member's name when it has another type or range. */
int dmn_call_text(const struct dmn_call *c, const char *member, const char **text,
                  struct bth_error *error) _must_check_;
int dmn_call_u64(const struct dmn_call *c, const char *member, uint64_t *value,
                 struct bth_error *error) _must_check_;
int dmn_call_bool(const struct dmn_call *c, const char *member, bool *value,
                  struct bth_error *error) _must_check_;
/* Members that no verb knows are errors: refuses a body or query with others than these (NULL at
 * the end). Returns 0, or -EINVAL with the name. */
int dmn_call_members(const struct dmn_call *c, const char *const *names, struct bth_error *error)
        _must_check_;

struct dmn_station;
/* Gives a call to its verb, which answers it. */
void dmn_verb_call(struct dmn_station *s, struct dmn_call *c);
