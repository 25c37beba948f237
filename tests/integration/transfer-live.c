/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A worker without a drive: the engine over blobs made up from numbers, for transfer-live.py, which
 * makes faults, kills it and starts it again.
 *   transfer-live FOLDER COUNT [readback | faulty | long | long-faulty | pages | pages-faulty]
 *   BERTH_ENDPOINT, BERTH_ACCOUNT, BERTH_CREDENTIAL_KIND, BERTH_CREDENTIAL_FILE
 *   BERTH_VERIFY=service, BERTH_BEGUN_USEC, BERTH_LEASE_SEC, BERTH_ONLY: of the transfers'
 * environment; BERTH_BLOBS: numbers with blanks between, instead of all below COUNT;
 * BERTH_REPORT_USEC: reports on standard error that often; BERTH_CAP: bytes a second,
 * and after the first report with anything sent BERTH_CAP_THEN. The credential file is read again
 * when due. Prints "INDEX STATUS DISPOSITION NAME" for each blob; a status file says requests and
 * bytes. */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "base/time.h"
#include "crypto/md5multi.h"
#include "uploader/engine.h"
#include "uploader/limit.h"
#include "uploader/renew.h"

#define BLOCK_BYTES      40000u
#define BUDGET_BYTES     (8u << 20)
#define PAGE_RANGE_BYTES 16384u

/* Long blobs: 0 and 3 have four blocks of 17 MiB, the last one as the first; 1 is one of 20 MiB; 2
 * has eight short ones, of two contents. */
#define LONG_BYTES (UINT64_C(17) << 20)
static bool long_blobs;
/* Page blobs of 10 MiB with a range of 9 MiB and one of 1 MiB. */
static bool long_pages;
#define LONG_PAGES_BYTES (UINT64_C(10) << 20)

static uint64_t step_of(uint64_t i)
{
        return i % 3 == 0 ? LONG_BYTES : i % 3 == 1 ? UINT64_C(20) << 20 : BLOCK_BYTES;
}

/* What kind blob number i is; transfer-live.py has the same rules. */
static uint64_t length_of(uint64_t i)
{
        if (long_pages)
                return LONG_PAGES_BYTES;
        if (long_blobs)
                return step_of(i) * (i % 3 == 0 ? 4 : i % 3 == 1 ? 1 : 8);
        return i % 7 == 0 ? 0 : i % 5 == 0 ? BLOCK_BYTES * 6 + i : i % 11 == 0 ? 512 * 300 : i * 37;
}

static bool is_page(uint64_t i)
{
        return long_pages || (!long_blobs && i % 7 != 0 && i % 5 != 0 && i % 11 == 0);
}

static struct med_metadata_item metadata_items[] = { { (char *)"origin", (char *)"a drive" } };
static const struct med_metadata metadata = { metadata_items, 1 };
static const struct med_properties properties = {
        .values = { [MED_PROPERTY_CONTENT_TYPE] = (char *)"text/x-live",
                    [MED_PROPERTY_CACHE_CONTROL] = (char *)"no-store" },
};

struct made {
        struct med_manifest_blob blob;
        struct med_manifest_range ranges[16];
        char path[64];
        uint8_t *data;
        struct bth_source *source;
};

static void fill(uint64_t i, uint8_t *data, uint64_t n)
{
        for (uint64_t k = 0; long_blobs && k < n; k++) {
                uint64_t block = k / step_of(i) % (i % 3 == 0 ? 3 : 2), at = k % step_of(i);

                data[k] = (uint8_t)(at * 7 + at / 251 + block * 5 + i * 13);
        }
        if (long_blobs)
                return;
        for (uint64_t k = 0; k < n; k++)
                data[k] = (uint8_t)(k * 7 + k / 251 + i * 13);
        /* Pages with holes: every third 4 KiB is zero, and where ranges are short every third. */
        for (uint64_t k = 0; is_page(i) && k < n; k++)
                if (k / 4096 % 3 == 1 || (!long_pages && k / PAGE_RANGE_BYTES % 3 == 2))
                        data[k] = 0;
}

static void add_ranges(struct made *m, uint64_t step)
{
        for (uint64_t at = 0; at < m->blob.length_bytes; at += step) {
                struct med_manifest_range *r = &m->ranges[m->blob.n_ranges++];
                struct cry_md5 md5;

                r->offset_bytes = at;
                r->length_bytes = MIN(step, m->blob.length_bytes - at);
                r->id = MED_MANIFEST_NO_ID;
                cry_md5_init(&md5);
                cry_md5_update(&md5, m->data + at, (size_t)r->length_bytes);
                cry_md5_finish(&md5, r->md5);
        }
}

static struct made *make(uint64_t i)
{
        struct made *m = calloc(1, sizeof *m);
        uint64_t n = length_of(i);

        if (!m || !(m->data = malloc((size_t)n + 1)))
                abort();
        (void)snprintf(m->path, sizeof m->path, "moved/dir/blob-%" PRIu64 ".bin", i);
        fill(i, m->data, n);
        m->blob = (struct med_manifest_blob){
                .index = i,
                .blob_path = m->path,
                .file_path = "\\x",
                .length_bytes = n,
                .disposition = (enum bth_disposition)(i % 3),
                .kind = is_page(i) ? MED_MANIFEST_PAGE : MED_MANIFEST_BLOCK,
                .ranges = m->ranges,
        };
        add_ranges(m, long_pages   ? UINT64_C(9) << 20
                      : is_page(i) ? PAGE_RANGE_BYTES
                      : long_blobs ? step_of(i)
                                   : BLOCK_BYTES);
        if (bth_source_new_memory(m->data, (size_t)n, &m->source) < 0)
                abort();
        return m;
}

static void unmake(struct made *m)
{
        (void)bth_source_free(m->source);
        free(m->data);
        free(m);
}

/* A drive with faults, by blob number: 10 a bad sector in its third block, 11 a bit that reads
 * wrong once, 13 one that always does, 16 a file that ends early. Of long blobs: 0 a bit that reads
 * wrong once, 1 one that always does, 3 a bad sector in its second block. */
struct faulty {
        struct bth_source source;
        const struct made *made;
        atomic_uint reads;
};

static int faulty_read(struct bth_source *source, uint64_t offset_bytes, void *buffer, size_t n)
{
        struct faulty *f = container_of(source, struct faulty, source);
        unsigned before = atomic_fetch_add(&f->reads, 1);
        uint64_t i = f->made->blob.index;
        bool wrong = i == 13 || (i == 11 && before == 0);

        /* Of long pages: 0 a bit that reads wrong once, 1 one that always does. */
        if (long_pages)
                wrong = offset_bytes == 4 << 20 && (i == 1 || (i == 0 && before < 4));

        if (long_blobs) {
                wrong = i == 1 || (i == 0 && before == 5);
                if (i == 3 && offset_bytes - LONG_BYTES < LONG_BYTES && before > 9)
                        return -EIO;
        }
        if (i == 10 && offset_bytes == 2 * BLOCK_BYTES)
                return -EIO;
        memcpy(buffer, f->made->data + offset_bytes, n);
        if (n > 0 && wrong)
                *(uint8_t *)buffer ^= 4;
        return 0;
}

static void faulty_free(struct bth_source *source)
{
        free(container_of(source, struct faulty, source));
}

static struct bth_source *make_faulty(struct made *m)
{
        static const struct bth_source_ops ops = { .read = faulty_read, .free = faulty_free };
        struct faulty *f = calloc(1, sizeof *f);

        if (!f)
                abort();
        f->made = m;
        f->source = (struct bth_source){
                .ops = &ops,
                .size_bytes = m->blob.index == 16 ? m->blob.length_bytes - 1 : m->blob.length_bytes,
                .logical_block_bytes = 1,
                .memory_align_bytes = 1,
        };
        return &f->source;
}

struct run {
        bool faulty;
        uint64_t next, count;
        unsigned n_failed, n_resumed;
        uint64_t sent_bytes;
};

static bool is_wanted(uint64_t i)
{
        const char *list = getenv("BERTH_BLOBS");
        char *word, *rest = NULL, text[256];
        uint64_t n;

        if (!list)
                return true;
        (void)snprintf(text, sizeof text, "%s", list);
        for (word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
                if (bth_parse_u64(word, &n) == 0 && n == i)
                        return true;
        return false;
}

static int on_next(void *userdata, struct upl_transfer_item *ret_item, void **ret_cookie)
{
        struct run *run = userdata;
        struct made *m;

        while (run->next < run->count && !is_wanted(run->next))
                run->next++;
        if (run->next >= run->count)
                return 0;
        m = make(run->next++);
        if (run->faulty) {
                (void)bth_source_free(m->source);
                m->source = make_faulty(m);
        }
        *ret_item = (struct upl_transfer_item){ .blob = &m->blob, .content = m->source };
        if (m->blob.index % 4 == 2) {
                ret_item->metadata = &metadata;
                ret_item->properties = &properties;
        }
        *ret_cookie = m;
        return 1;
}

static void on_ended(void *userdata, void *cookie, const struct upl_transfer_item *item,
                     const struct upl_transfer_result *result)
{
        struct run *run = userdata;
        char text[1500];

        for (size_t i = 0; result->plan && i < result->plan->n_parts; i++)
                if (result->ranges[i] != BTH_RANGE_STATUS_COMPLETED)
                        (void)fprintf(stderr, "range %" PRIu64 " %zu %s\n", item->blob->index, i,
                                      bth_range_status_to_string(result->ranges[i]));
        (void)printf("%" PRIu64 " %s %s %s\n", item->blob->index,
                     bth_blob_status_to_string(result->outcome.status),
                     bth_disposition_status_to_string(result->outcome.disposition),
                     result->outcome.name);
        if (result->outcome.status != BTH_BLOB_STATUS_COMPLETED) {
                run->n_failed++;
                (void)fprintf(stderr, "%s\n",
                              bth_error_to_string(&result->error, text, sizeof text));
        }
        run->n_resumed += result->resumed;
        run->sent_bytes += result->sent_bytes;
        unmake(cookie);
}

static void on_dropped(void *userdata, void *cookie)
{
        unmake(cookie);
}

static struct upl_transfer_env env;
static atomic_bool stop;
static struct upl_limit *limit;

static uint64_t number_of(const char *variable)
{
        const char *text = getenv(variable);
        uint64_t n = 0;

        return text && bth_parse_u64(text, &n) == 0 ? n : 0;
}

static void on_report(void *userdata, const struct upl_report *report)
{
        char text[256];

        (void)fprintf(stderr, "report %s; %" PRIu64 " bytes a second\n",
                      upl_report_to_string(report, text, sizeof text), report->bytes_per_sec);
        if (report->client.sent_bytes > 0 && number_of("BERTH_CAP_THEN") > 0) {
                upl_limit_set(limit, number_of("BERTH_CAP_THEN"));
                upl_client_kick(env.client);
        }
}

static void *wait_for_term(void *userdata)
{
        sigset_t *set = userdata;
        int signal_number;

        if (sigwait(set, &signal_number) == 0 && signal_number == SIGTERM)
                upl_engine_stop(&env, &stop);
        return NULL;
}

static int client_new(struct upl_credential **ret_credential)
{
        struct upl_http_options http = { .stall_timeout_sec = 2, .limit = limit };
        struct upl_client_options o = {
                .retry = { 20000, 500000, 120 * BTH_USEC_PER_SEC, 600 * BTH_USEC_PER_SEC },
                .waits = env.budget,
        };
        struct bth_secret *secret = NULL;
        int r;

        r = upl_endpoint_parse(getenv("BERTH_ENDPOINT"), true, &o.endpoint, NULL);
        if (r == 0)
                r = bth_secret_new_from_file(getenv("BERTH_CREDENTIAL_FILE"), 65536, true, &secret);
        if (r == 0)
                r = upl_credential_new(
                        upl_credential_kind_from_string(getenv("BERTH_CREDENTIAL_KIND")),
                        getenv("BERTH_ACCOUNT"), secret, ret_credential, NULL);
        (void)bth_secret_free(secret);
        o.credential = *ret_credential;
        if (r == 0)
                r = upl_http_curl_new(&http, &o.http);
        if (r == 0)
                r = upl_client_new(&o, &env.client);
        upl_endpoint_clear(&o.endpoint);
        return r;
}

int main(int argc, char **argv)
{
        static const uint8_t identity[UPL_STATE_IDENTITY_BYTES] = { 42 };
        struct run run = { 0 };
        struct upl_engine_options o = {
                .env = &env,
                .threads = 24,
                .next = on_next,
                .ended = on_ended,
                .dropped = on_dropped,
                .userdata = &run,
                .report = getenv("BERTH_REPORT_USEC") ? on_report : NULL,
                .report_usec = number_of("BERTH_REPORT_USEC"),
        };
        struct upl_renewer_options renew = { .fetch = upl_renew_from_file,
                                             .userdata = getenv("BERTH_CREDENTIAL_FILE"),
                                             .first_usec = UINT64_MAX };
        struct upl_renewer *renewer = NULL;
        struct upl_credential *credential = NULL;
        struct upl_client_state client_state;
        struct upl_budget_state budget_state;
        struct bth_error error = BTH_ERROR_INIT;
        pthread_t waiter;
        sigset_t set;
        int folder, r;

        if (argc < 3 || bth_parse_u64(argv[2], &run.count) < 0)
                return 2;
        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGTERM);
        (void)sigaddset(&set, SIGUSR1);
        (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
        env.stop = &stop;
        env.service_hash = bth_streq(getenv("BERTH_VERIFY"), "service");
        env.begun_usec = number_of("BERTH_BEGUN_USEC");
        env.lease_seconds = (unsigned)number_of("BERTH_LEASE_SEC");
        env.only_container = getenv("BERTH_ONLY");
        long_pages = argc > 3 && bth_starts_with(argv[3], "pages");
        env.readback = argc > 3 && strcmp(argv[3], "readback") == 0;
        run.faulty = argc > 3 && bth_ends_with(argv[3], "faulty");
        long_blobs = argc > 3 && bth_starts_with(argv[3], "long");
        folder = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = folder < 0 ? -errno : upl_budget_new(BUDGET_BYTES, &env.budget);
        if (r == 0)
                r = upl_hasher_new(&env.hasher);
        if (r == 0)
                r = upl_state_open(folder, "transfer", identity, &env.state, &error);
        if (r == 0)
                r = upl_limit_new(number_of("BERTH_CAP"), &limit);
        if (r == 0)
                r = client_new(&credential);
        renew.client = env.client;
        renew.credential = credential;
        if (r == 0)
                r = upl_renewer_new(&renew, &renewer);
        if (r < 0) {
                (void)fprintf(stderr, "cannot start: %s %s\n", bth_strerror(r), error.sentence);
                return 2;
        }
        if (pthread_create(&waiter, NULL, wait_for_term, &set) != 0)
                return 2;
        r = upl_engine_run(&o);
        upl_client_look(env.client, &client_state);
        upl_budget_look(env.budget, &budget_state);
        (void)fprintf(stderr,
                      "# result %d requests %" PRIu64 " retries %" PRIu64 " sent %" PRIu64
                      " resumed %u peak %" PRIu64 "\n",
                      r, client_state.requests, client_state.retries, run.sent_bytes, run.n_resumed,
                      budget_state.peak_bytes);
        (void)pthread_kill(waiter, SIGUSR1);
        (void)pthread_join(waiter, NULL);
        (void)upl_renewer_free(renewer);
        env.client = upl_client_free(env.client);
        (void)upl_limit_free(limit);
        (void)upl_credential_free(credential);
        (void)upl_state_free(env.state);
        (void)upl_hasher_free(env.hasher);
        (void)upl_budget_free(env.budget);
        (void)close(folder);
        return r == -ECANCELED ? 3 : r < 0 ? 2 : run.n_failed > 0 ? 1 : 0;
}
