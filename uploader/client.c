/* SPDX-License-Identifier: GPL-3.0-or-later */
/* client - see client.h. */
#include "uploader/client.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/guid.h"
#include "base/time.h"
#include "uploader/answer.h"
#include "uploader/blob.h"
#include "uploader/budget.h"

#define DEFAULT_START_IN_FLIGHT 8u
#define DEFAULT_MAX_IN_FLIGHT   64u
#define LONGEST_SLEEP_USEC      UINT64_C(500000)
#define PROBE_USEC              UINT64_C(1000000)
#define PROBE_BLOB              "berth-asks-whether-the-credential-works"
#define OWN_REFUSALS_MAX        3u
#define MISMATCHES_MAX          3u
/* What a request counts beside its bytes when throughput is compared, so that many small files let
 * the limit grow as well. */
#define UNITS_PER_REQUEST 65536u
#define REQUEST_ID        "x-ms-client-request-id"

enum attempt_state {
        ATTEMPT_QUEUED,      /* waits for the limit */
        ATTEMPT_IN_FLIGHT,   /* with the transport */
        ATTEMPT_RETRY,       /* waits for its time */
        ATTEMPT_CREDENTIALS, /* waits for a new credential, or its time */
        _ATTEMPT_MAX,
};

/* What the client keeps for a call. Only the client's thread touches it, after it was handed over.
 */
struct upl_attempt {
        struct upl_attempt *next; /* in one of the lists */
        struct upl_client *client;
        struct upl_call *call;
        enum attempt_state state;
        struct upl_exchange x;
        struct bth_buf url;
        struct upl_headers headers;
        struct upl_retry retry;
        uint64_t due_usec;
        uint64_t generation; /* of the credential it was signed with */
        enum upl_wait wait;
        bool waiting;          /* `wait` was begun; who is queued waits for those in flight */
        unsigned n_mismatches; /* the service found another hash than it was told */
        bool probe;            /* the client's own, for its answer's sake */
        uint64_t launched_usec;
        uint64_t refused_usec;       /* when its credential was refused last … */
        uint64_t refused_generation; /* … which one … */
        unsigned n_own_refusals;     /* … and how often, though it had worked in between */
        char id[BTH_GUID_TEXT_MAX];  /* of this attempt; a service that echoes it echoes this one */
        atomic_bool resume;          /* set by any thread: the body has bytes again */
};

struct list {
        struct upl_attempt *first, *last;
};

struct upl_client {
        /* Constant after upl_client_new(). */
        struct upl_endpoint endpoint;
        struct upl_credential *credential;
        struct upl_http *http;
        struct upl_retry_policy policy;
        struct upl_budget *waits;
        pthread_t thread;

        pthread_mutex_t lock; /* over the four below; nothing is locked while it is held */
        struct list arrived;
        bool stop, joined;
        struct upl_client_state state;

        /* Of the client's thread. */
        struct list queue;
        struct upl_attempt *sleeping; /* RETRY and CREDENTIALS */
        struct upl_attempt *flying;
        struct upl_concurrency concurrency;
        unsigned n[_ATTEMPT_MAX];
        uint64_t ended_bytes;        /* bodies of attempts that ended */
        bool healed;                 /* the pause has just ended without a new credential */
        uint64_t refused_since_usec; /* the credential is refused: a pause; 0: it is not */
        unsigned n_refusals;         /* since the last success */
        uint64_t refused_generation; /* which one */
        uint64_t next_probe_usec;    /* when one request may ask again */
        bool probed;                 /* the last one to ask was a probe: next a call's own */
        uint64_t accepted_usec;      /* launch of the last request whose credential was accepted */
        uint64_t accepted_generation;
};

static void list_add(struct list *l, struct upl_attempt *a)
{
        a->next = NULL;
        if (l->last)
                l->last->next = a;
        else
                l->first = a;
        l->last = a;
}

static struct upl_attempt *list_take(struct list *l)
{
        struct upl_attempt *a = l->first;

        if (a) {
                l->first = a->next;
                if (!l->first)
                        l->last = NULL;
                a->next = NULL;
        }
        return a;
}

static void chain_remove(struct upl_attempt **chain, struct upl_attempt *a)
{
        for (; *chain; chain = &(*chain)->next)
                if (*chain == a) {
                        *chain = a->next;
                        a->next = NULL;
                        return;
                }
}

static void set_wait(struct upl_attempt *a, bool waiting, enum upl_wait wait)
{
        struct upl_budget *waits = a->client->waits;

        if (!waits)
                return;
        if (a->waiting)
                upl_wait_end(waits, a->wait);
        a->waiting = waiting;
        a->wait = wait;
        if (waiting)
                upl_wait_begin(waits, wait);
}

static void set_state(struct upl_attempt *a, enum attempt_state state)
{
        a->client->n[a->state]--;
        a->state = state;
        a->client->n[state]++;
}

static void attempt_free(struct upl_attempt *a)
{
        upl_exchange_reset(&a->x);
        upl_headers_clear(&a->headers);
        if (a->url.data)
                bth_wipe(a->url.data, a->url.length);
        bth_buf_clear(&a->url);
        free(a);
}

static void publish(struct upl_client *c)
{
        uint64_t sent_bytes = c->ended_bytes;

        for (const struct upl_attempt *a = c->flying; a; a = a->next)
                sent_bytes += a->x.sent_bytes;
        (void)pthread_mutex_lock(&c->lock);
        c->state.sent_bytes = sent_bytes;
        c->state.refused_since_usec = c->refused_since_usec;
        c->state.in_flight = c->n[ATTEMPT_IN_FLIGHT];
        c->state.queued = c->n[ATTEMPT_QUEUED];
        c->state.waiting_retry = c->n[ATTEMPT_RETRY];
        c->state.waiting_credentials = c->n[ATTEMPT_CREDENTIALS];
        c->state.limit = c->concurrency.limit;
        (void)pthread_mutex_unlock(&c->lock);
}

/* The call is over; `done` may free it. Who then looks at the client finds it counted. */
static void finish(struct upl_attempt *a, int result, enum upl_failure failure)
{
        struct upl_call *call = a->call;

        a->client->n[a->state]--;
        set_wait(a, false, UPL_WAIT_NETWORK);
        call->result = result;
        call->failure = failure;
        call->status = a->x.status;
        call->answer = &a->x.answer;
        call->content = &a->x.content;
        publish(a->client);
        call->done(call);
}

static int build_url(struct upl_attempt *a)
{
        const struct upl_request *q = &a->call->request;
        struct upl_client *c = a->client;
        int r;

        if (a->url.data)
                bth_wipe(a->url.data, a->url.length);
        bth_buf_clear(&a->url);
        r = bth_buf_add_string(&a->url, c->endpoint.base);
        if (r == 0)
                r = upl_request_path(&c->endpoint, q, &a->url);
        for (size_t i = 0; i < q->n_params && r == 0; i++) {
                r = bth_buf_add_format(&a->url, "%c%s=", i == 0 ? '?' : '&', q->params[i].name);
                if (r == 0)
                        r = upl_url_add_value(&a->url, q->params[i].value);
        }
        return r;
}

static int build_headers(struct upl_attempt *a)
{
        const struct upl_request *q = &a->call->request;
        char date[BTH_TIME_TEXT_MAX];
        struct bth_guid id;
        int r = bth_guid_random(&id);

        upl_headers_clear(&a->headers);
        for (size_t i = 0; i < q->headers.n && r == 0; i++)
                r = upl_headers_set(&a->headers, q->headers.items[i].name,
                                    q->headers.items[i].value);
        if (r == 0)
                r = upl_headers_set(&a->headers, "x-ms-version", UPL_SERVICE_VERSION);
        if (r == 0)
                r = upl_headers_set(&a->headers, "x-ms-date",
                                    bth_time_http(bth_now_realtime_usec(), date));
        if (r == 0)
                r = upl_headers_set(&a->headers, REQUEST_ID, bth_guid_to_string(&id, a->id));
        return r;
}

static void on_exchange_done(struct upl_exchange *x);

static int launch(struct upl_attempt *a)
{
        struct upl_request *q = &a->call->request;
        struct upl_client *c = a->client;
        int r = 0;

        upl_exchange_reset(&a->x);
        if (q->rewind)
                r = q->rewind(q->userdata);
        if (r == 0)
                r = build_url(a);
        if (r == 0)
                r = build_headers(a);
        a->generation = upl_credential_generation(c->credential);
        if (r == 0)
                r = upl_credential_sign(c->credential, &c->endpoint, q, q->body.length_bytes,
                                        &a->headers, &a->url);
        if (r < 0)
                return r;
        a->x.method = q->method;
        a->x.url = a->url.data;
        a->x.headers = &a->headers;
        a->x.body = q->body;
        a->x.echo = REQUEST_ID;
        a->x.max_answer_bytes = q->max_answer_bytes;
        a->x.receive = q->receive;
        a->x.userdata = q->userdata;
        a->x.done = on_exchange_done;
        a->call->attempts++;
        a->launched_usec = bth_now_monotonic_usec();
        return upl_http_submit(c->http, &a->x);
}

/* How many may be in flight now: in a pause for credentials one, once an interval. */
static unsigned limit_now(struct upl_client *c, uint64_t now)
{
        if (c->refused_since_usec > 0 &&
            upl_credential_generation(c->credential) != c->refused_generation)
                c->refused_since_usec = 0;
        if (c->refused_since_usec == 0)
                return c->concurrency.limit;
        if (now < c->next_probe_usec)
                return 0;
        return 1;
}

/* Launches, or ends with what went wrong. */
static void let_fly(struct upl_attempt *a)
{
        struct upl_client *c = a->client;
        int r = launch(a);

        if (r < 0) {
                finish(a, r, UPL_FAILURE_PERMANENT);
                return;
        }
        set_state(a, ATTEMPT_IN_FLIGHT);
        set_wait(a, true, UPL_WAIT_NETWORK);
        a->next = c->flying;
        c->flying = a;
}

static void launch_queued(struct upl_client *c, uint64_t now)
{
        unsigned limit = limit_now(c, now);
        struct upl_attempt *a;

        while (c->n[ATTEMPT_IN_FLIGHT] < limit && (a = list_take(&c->queue))) {
                let_fly(a);
                if (c->refused_since_usec > 0) {
                        c->next_probe_usec = now + PROBE_USEC;
                        c->probed = false;
                }
        }
        if (c->queue.first && c->refused_since_usec == 0)
                upl_concurrency_waited(&c->concurrency);
}

static void read_error_code(struct upl_attempt *a)
{
        const char *code = upl_headers_get(&a->x.answer, "x-ms-error-code");
        struct upl_call *call = a->call;

        call->code[0] = '\0';
        if (a->x.result < 0 || (a->x.status >= 200 && a->x.status < 300))
                return;
        if (code)
                (void)bth_escape(code, strlen(code), call->code, sizeof call->code);
        else
                upl_answer_error_code(&a->x.content, call->code, sizeof call->code);
}

/* Does the answer show that the service knows who asks? A refusal of what is asked for does. */
static bool is_accepted(const struct upl_attempt *a, enum upl_failure failure)
{
        unsigned status = a->x.status;

        if (failure == UPL_FAILURE_NONE)
                return true;
        if (a->x.result < 0 || failure != UPL_FAILURE_PERMANENT || a->call->code[0] == '\0')
                return false;
        /* Without a good name none is told what is forbidden; a firewall forbids all. */
        if (status == 401 || status == 403)
                return strcmp(a->call->code, "AuthorizationPermissionMismatch") == 0;
        return status >= 400 && status < 500;
}

/* Refused twice without a success between is refused: once may be a date that has just passed. */
static void judge_credential(struct upl_client *c, const struct upl_attempt *a,
                             enum upl_failure failure, uint64_t now)
{
        if (is_accepted(a, failure)) {
                c->healed = c->healed || c->refused_since_usec > 0;
                c->refused_since_usec = 0;
                c->n_refusals = 0;
                c->accepted_usec = MAX(c->accepted_usec, a->launched_usec);
                c->accepted_generation = a->generation;
        }
        if (failure != UPL_FAILURE_CREDENTIALS ||
            a->generation != upl_credential_generation(c->credential) || ++c->n_refusals < 2)
                return;
        if (c->refused_since_usec == 0) {
                c->refused_since_usec = now;
                c->probed = false;
        }
        c->refused_generation = a->generation;
        c->next_probe_usec = now + PROBE_USEC;
}

/* A credential was refused. Is that the call's own fault, since what others sent after its last
 * refusal was accepted, again and again? */
static bool is_own_refusal(struct upl_attempt *a, uint64_t now)
{
        const struct upl_client *c = a->client;

        if (a->refused_generation != a->generation)
                a->n_own_refusals = 0;
        else if (c->accepted_generation == a->generation && c->accepted_usec > a->refused_usec)
                a->n_own_refusals++;
        a->refused_generation = a->generation;
        a->refused_usec = now;
        return a->n_own_refusals >= OWN_REFUSALS_MAX;
}

/* --- probes --- */

static void on_probe_done(struct upl_call *call)
{
        upl_call_clear(call);
        free(call);
}

/* The container of a call that waits for the credential; NULL: none does. */
static const char *waiting_container(const struct upl_client *c)
{
        for (const struct upl_attempt *a = c->sleeping; a; a = a->next)
                if (a->state == ATTEMPT_CREDENTIALS && a->call->request.container)
                        return a->call->request.container;
        return NULL;
}

static struct upl_attempt *attempt_new(struct upl_client *c, struct upl_call *call);

/* In a pause the client asks for a blob that nobody has, in turns with the calls that were refused:
 * the answer tells whether the credential is what is refused, or only those. */
static void launch_probe(struct upl_client *c, uint64_t now)
{
        struct upl_target target = { .container = waiting_container(c), .blob = PROBE_BLOB };
        struct upl_attempt *a = NULL;
        struct upl_call *call;

        if (c->refused_since_usec == 0 || c->probed || now < c->next_probe_usec ||
            c->n[ATTEMPT_IN_FLIGHT] > 0 || !target.container)
                return;
        call = calloc(1, sizeof *call);
        if (call && upl_get_properties(&call->request, &target) == 0)
                a = attempt_new(c, call);
        if (!a) {
                if (call)
                        on_probe_done(call); /* in a second again */
                return;
        }
        call->done = on_probe_done;
        a->probe = true;
        c->n[ATTEMPT_QUEUED]++;
        c->probed = true;
        c->next_probe_usec = now + PROBE_USEC;
        let_fly(a);
}

static void count_end(struct upl_client *c, const struct upl_attempt *a, enum upl_failure failure)
{
        c->ended_bytes += a->x.sent_bytes;
        (void)pthread_mutex_lock(&c->lock);
        c->state.requests++;
        c->state.accepted_bytes += failure == UPL_FAILURE_NONE ? a->x.sent_bytes : 0;
        c->state.throttled += failure == UPL_FAILURE_THROTTLED;
        c->state.refused += failure == UPL_FAILURE_CREDENTIALS;
        (void)pthread_mutex_unlock(&c->lock);
}

/* Puts a failed attempt to sleep until it may be tried again; false when it may not. */
static bool sleep_until_retry(struct upl_attempt *a, enum upl_failure failure, uint64_t now)
{
        struct upl_client *c = a->client;
        uint64_t after, wait, random = 0;

        after = upl_retry_after_usec(upl_headers_get(&a->x.answer, "Retry-After"),
                                     bth_now_realtime_usec());
        if (bth_random_bytes(&random, sizeof random) < 0)
                random = 0; /* only the jitter is lost */
        if (!upl_retry_next(&a->retry, &c->policy, failure, after, now, random, &wait))
                return false;
        /* Only in a pause is there a reason to wait for long. */
        if (failure == UPL_FAILURE_CREDENTIALS && c->refused_since_usec == 0)
                wait = MIN(wait, PROBE_USEC);
        a->due_usec = now + wait;
        set_state(a, failure == UPL_FAILURE_CREDENTIALS ? ATTEMPT_CREDENTIALS : ATTEMPT_RETRY);
        set_wait(a, true, failure == UPL_FAILURE_THROTTLED ? UPL_WAIT_THROTTLED : UPL_WAIT_NETWORK);
        a->next = c->sleeping;
        c->sleeping = a;
        return true;
}

/* An answer that was sent twice, by whoever is on the way, must not be taken for the next one's. */
static void check_echo(struct upl_attempt *a)
{
        const char *echo = upl_headers_get(&a->x.answer, REQUEST_ID);

        if (!echo || strcmp(echo, a->id) == 0)
                return;
        a->x.result = -ECONNRESET;
        (void)snprintf(a->x.cause, sizeof a->x.cause, "the answer belongs to another request");
}

static void on_exchange_done(struct upl_exchange *x)
{
        struct upl_attempt *a = container_of(x, struct upl_attempt, x);
        struct upl_client *c = a->client;
        uint64_t now = bth_now_monotonic_usec();
        enum upl_failure failure;

        chain_remove(&c->flying, a);
        check_echo(a);
        read_error_code(a);
        failure = upl_failure_of(x->result, x->status, a->call->code);
        count_end(c, a, failure);
        judge_credential(c, a, failure, now);
        if (a->probe) {
                finish(a, upl_failure_errno(x->result, x->status, a->call->code), failure);
                return;
        }
        if (failure == UPL_FAILURE_CREDENTIALS && is_own_refusal(a, now))
                failure = UPL_FAILURE_PERMANENT;
        if (x->result < 0 || x->status >= 500)
                a->call->sent_before = true;
        /* A body that is damaged again and again is damaged in our memory. */
        if (upl_failure_errno(x->result, x->status, a->call->code) == -EBADMSG &&
            ++a->n_mismatches == MISMATCHES_MAX)
                failure = UPL_FAILURE_PERMANENT;
        if (failure == UPL_FAILURE_THROTTLED)
                upl_concurrency_throttled(&c->concurrency, now);
        if (failure == UPL_FAILURE_NONE)
                upl_concurrency_done(&c->concurrency,
                                     x->sent_bytes + x->content.length + UNITS_PER_REQUEST);
        if (failure != UPL_FAILURE_NONE && sleep_until_retry(a, failure, now))
                return;
        finish(a, upl_failure_errno(x->result, x->status, a->call->code), failure);
}

/* Moves what may be tried again into the queue; returns when the next one may. */
static uint64_t wake_sleeping(struct upl_client *c, uint64_t now)
{
        uint64_t generation = upl_credential_generation(c->credential), next = UINT64_MAX;
        struct upl_attempt **link = &c->sleeping, *a;
        bool probe = c->refused_since_usec > 0 && now >= c->next_probe_usec && !c->queue.first &&
                     c->n[ATTEMPT_IN_FLIGHT] == 0;
        unsigned n_retries = 0;

        while ((a = *link)) {
                bool renewed = a->state == ATTEMPT_CREDENTIALS &&
                               (a->generation != generation || c->healed || probe);

                if (a->due_usec > now && !renewed) {
                        next = MIN(next, a->due_usec);
                        link = &a->next;
                        continue;
                }
                probe = probe && !renewed;
                *link = a->next;
                set_state(a, ATTEMPT_QUEUED);
                set_wait(a, false, UPL_WAIT_NETWORK);
                list_add(&c->queue, a);
                n_retries++;
        }
        c->healed = false;
        (void)pthread_mutex_lock(&c->lock);
        c->state.retries += n_retries;
        (void)pthread_mutex_unlock(&c->lock);
        return next;
}

/* Takes over what other threads left: new calls, bodies to go on. Returns false at the end. */
static bool take_arrived(struct upl_client *c)
{
        struct upl_attempt *a;
        bool stop;

        (void)pthread_mutex_lock(&c->lock);
        while ((a = list_take(&c->arrived))) {
                c->n[ATTEMPT_QUEUED]++;
                list_add(&c->queue, a);
        }
        stop = c->stop;
        (void)pthread_mutex_unlock(&c->lock);
        for (a = c->flying; a; a = a->next) {
                if (atomic_exchange(&a->resume, false))
                        upl_http_resume(c->http, &a->x);
                /* The bandwidth cap holds it, or no longer does. */
                if (a->x.held != (a->wait == UPL_WAIT_THROTTLED))
                        set_wait(a, true, a->x.held ? UPL_WAIT_THROTTLED : UPL_WAIT_NETWORK);
        }
        return !stop;
}

static void cancel_all(struct upl_client *c)
{
        struct upl_attempt *a;

        while ((a = c->flying)) {
                upl_http_cancel(c->http, &a->x);
                chain_remove(&c->flying, a);
                finish(a, -ECANCELED, UPL_FAILURE_PERMANENT);
        }
        while ((a = c->sleeping)) {
                chain_remove(&c->sleeping, a);
                finish(a, -ECANCELED, UPL_FAILURE_PERMANENT);
        }
        while ((a = list_take(&c->queue)))
                finish(a, -ECANCELED, UPL_FAILURE_PERMANENT);
}

static void *client_thread(void *userdata)
{
        struct upl_client *c = userdata;

        while (take_arrived(c)) {
                uint64_t now = bth_now_monotonic_usec(), next;

                launch_probe(c, now);
                next = wake_sleeping(c, now);
                launch_queued(c, now);
                upl_concurrency_step(&c->concurrency, now);
                publish(c);
                if (c->refused_since_usec > 0 && c->n[ATTEMPT_IN_FLIGHT] == 0)
                        next = MIN(next, c->next_probe_usec);
                next = next > now ? MIN(next - now, LONGEST_SLEEP_USEC) : 0;
                if (upl_http_run(c->http, next) < 0) {
                        /* The transport is of no more use: neither are we. */
                        (void)pthread_mutex_lock(&c->lock);
                        c->stop = true;
                        (void)pthread_mutex_unlock(&c->lock);
                }
        }
        cancel_all(c);
        publish(c);
        return NULL;
}

static int copy_endpoint(struct upl_client *c, const struct upl_endpoint *from)
{
        c->endpoint.base = strdup(from->base);
        c->endpoint.path = strdup(from->path);
        c->endpoint.tls = from->tls;
        return c->endpoint.base && c->endpoint.path ? 0 : -ENOMEM;
}

static void client_drop(struct upl_client *c)
{
        (void)upl_http_free(c->http);
        upl_endpoint_clear(&c->endpoint);
        free(c);
}

int upl_client_new(const struct upl_client_options *o, struct upl_client **ret_client)
{
        unsigned least = o->min_in_flight ? o->min_in_flight : 1;
        unsigned most = o->max_in_flight ? o->max_in_flight : DEFAULT_MAX_IN_FLIGHT;
        unsigned start = o->start_in_flight ? o->start_in_flight : DEFAULT_START_IN_FLIGHT;
        struct upl_client *c = calloc(1, sizeof *c);
        int r;

        if (!c) {
                (void)upl_http_free(o->http);
                return -ENOMEM;
        }
        c->http = o->http;
        c->credential = o->credential;
        c->waits = o->waits;
        c->policy = o->retry.total_usec ? o->retry : UPL_RETRY_POLICY_DEFAULT;
        if (least > most) {
                client_drop(c);
                return -EINVAL;
        }
        upl_concurrency_init(&c->concurrency, least, MIN(MAX(start, least), most), most,
                             bth_now_monotonic_usec());
        r = copy_endpoint(c, &o->endpoint);
        if (r == 0)
                r = -pthread_mutex_init(&c->lock, NULL);
        if (r < 0) {
                client_drop(c);
                return r;
        }
        publish(c);
        r = -pthread_create(&c->thread, NULL, client_thread, c);
        if (r < 0) {
                (void)pthread_mutex_destroy(&c->lock);
                client_drop(c);
                return r;
        }
        *ret_client = c;
        return 0;
}

void upl_client_stop(struct upl_client *c)
{
        struct list arrived = { 0 };
        struct upl_attempt *a;
        bool join;

        (void)pthread_mutex_lock(&c->lock);
        c->stop = true;
        join = !c->joined;
        c->joined = true;
        (void)pthread_mutex_unlock(&c->lock);
        if (!join)
                return;
        upl_http_wake(c->http);
        (void)pthread_join(c->thread, NULL);
        (void)pthread_mutex_lock(&c->lock);
        arrived = c->arrived;
        c->arrived = (struct list){ 0 };
        (void)pthread_mutex_unlock(&c->lock);
        while ((a = list_take(&arrived))) {
                c->n[ATTEMPT_QUEUED]++;
                finish(a, -ECANCELED, UPL_FAILURE_PERMANENT);
        }
}

struct upl_client *upl_client_free(struct upl_client *c)
{
        if (!c)
                return NULL;
        upl_client_stop(c);
        (void)pthread_mutex_destroy(&c->lock);
        client_drop(c);
        return NULL;
}

static struct upl_attempt *attempt_new(struct upl_client *c, struct upl_call *call)
{
        struct upl_attempt *a = calloc(1, sizeof *a);

        if (!a)
                return NULL;
        a->client = c;
        a->call = call;
        call->attempt = a;
        call->attempts = 0;
        call->sent_before = false;
        return a;
}

size_t upl_client_start_many(struct upl_client *c, struct upl_call *const *calls, size_t n)
{
        bool stopped, idle;
        size_t made = 0;

        for (size_t i = 0; i < n; i++)
                calls[i]->attempt = NULL;
        while (made < n && attempt_new(c, calls[made]))
                made++;
        (void)pthread_mutex_lock(&c->lock);
        stopped = c->stop;
        idle = !c->arrived.first;
        for (size_t i = 0; i < made && !stopped; i++)
                list_add(&c->arrived, calls[i]->attempt);
        (void)pthread_mutex_unlock(&c->lock);
        for (size_t i = 0; i < made && stopped; i++) {
                attempt_free(calls[i]->attempt);
                calls[i]->attempt = NULL;
        }
        /* Where others have arrived and were not taken yet, the client is awake or about to be. */
        if (!stopped && made > 0 && idle)
                upl_http_wake(c->http);
        return stopped ? 0 : made;
}

int upl_client_start(struct upl_client *c, struct upl_call *call)
{
        bool stopped;

        if (upl_client_start_many(c, &call, 1) == 1)
                return 0;
        (void)pthread_mutex_lock(&c->lock);
        stopped = c->stop;
        (void)pthread_mutex_unlock(&c->lock);
        return stopped ? -ECANCELED : -ENOMEM;
}

struct waiter {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        bool finished;
};

static void on_waited_done(struct upl_call *call)
{
        struct waiter *w = call->userdata;

        (void)pthread_mutex_lock(&w->lock);
        w->finished = true;
        (void)pthread_cond_signal(&w->changed);
        (void)pthread_mutex_unlock(&w->lock);
}

int upl_client_call(struct upl_client *c, struct upl_call *call, struct bth_error *error)
{
        struct waiter w = { .lock = PTHREAD_MUTEX_INITIALIZER,
                            .changed = PTHREAD_COND_INITIALIZER };
        int r;

        call->done = on_waited_done;
        call->userdata = &w;
        r = upl_client_start(c, call);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_CANCELLED,
                                     "the request could not be started: %s", bth_strerror(r));
        (void)pthread_mutex_lock(&w.lock);
        while (!w.finished)
                (void)pthread_cond_wait(&w.changed, &w.lock);
        (void)pthread_mutex_unlock(&w.lock);
        return call->result < 0 ? upl_call_explain(call, error) : 0;
}

void upl_client_resume(struct upl_client *c, struct upl_call *call)
{
        atomic_store(&call->attempt->resume, true);
        upl_http_wake(c->http);
}

void upl_client_kick(struct upl_client *c)
{
        upl_http_wake(c->http);
}

void upl_call_clear(struct upl_call *call)
{
        upl_request_clear(&call->request);
        if (call->attempt)
                attempt_free(call->attempt);
        *call = (struct upl_call){ 0 };
}

/* Did the service answer, and will it answer the same again? */
static bool is_refused(const struct upl_call *call)
{
        return call->failure == UPL_FAILURE_PERMANENT && call->status != 0 &&
               call->attempt->x.result == 0;
}

static enum bth_reason reason_of(const struct upl_call *call)
{
        switch (call->result) {
        case -ENOMEM:
                return BTH_REASON_OUT_OF_MEMORY;
        case -EACCES:
                return BTH_REASON_CREDENTIALS;
        case -ECANCELED:
                return BTH_REASON_CANCELLED;
        case -EBADMSG:
                return BTH_REASON_HASH_MISMATCH;
        case -EFBIG:
                return BTH_REASON_TOO_LARGE;
        default:
                return is_refused(call) ? BTH_REASON_SERVICE_REFUSED : BTH_REASON_NETWORK;
        }
}

int upl_call_explain(const struct upl_call *call, struct bth_error *error)
{
        const struct upl_request *q = &call->request;
        char what[1280];

        if (!error || call->result >= 0)
                return call->result;
        (void)snprintf(what, sizeof what, "%s/%s", q->container ? q->container : "",
                       q->blob ? q->blob : "");
        bth_error_blob(error, what);
        if (call->status == 0 || call->attempt->x.result < 0)
                return bth_error_set(error, call->result, reason_of(call),
                                     "%s got no whole answer after %u attempts: %s",
                                     upl_method_to_string(q->method), call->attempts,
                                     call->attempt->x.cause[0] ? call->attempt->x.cause
                                                               : bth_strerror(call->result));
        return bth_error_set(error, call->result, reason_of(call),
                             "%s was answered with %u %s after %u attempts",
                             upl_method_to_string(q->method), call->status,
                             call->code[0] ? call->code : "(no error code)", call->attempts);
}

void upl_client_look(struct upl_client *c, struct upl_client_state *ret_state)
{
        (void)pthread_mutex_lock(&c->lock);
        *ret_state = c->state;
        (void)pthread_mutex_unlock(&c->lock);
}
