/* SPDX-License-Identifier: GPL-3.0-or-later */
/* config - what berthd.conf may say, and the sentence, file and line for what it may not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "daemon/config.h"
#include "daemon/udev-rules.h"

static const char good[] = "# a station\n"
                           "[station]\n"
                           "name = east 1\n"
                           "memory = 2GiB\n"
                           "bandwidth=100MB\n"
                           "  dock_again = 2d\n"
                           "keep_history = 400d\n"
                           "verify = readback\r\n"
                           "accept_unshipped = no\n"
                           "; another comment\n"
                           "\n"
                           "[bay 1]\n"
                           "id_path = pci-0000:00:1f.2-ata-1\n"
                           "[bay 2]\n"
                           "directory = /srv/bays/2\n"
                           "[account photos]\n"
                           "resource_id = /subscriptions/x/photos\n"
                           "endpoint = https://127.0.0.1:10000/photos\n"
                           "credential = key\n"
                           "credential_file = /etc/berth/photos.key\n"
                           "containers = a b\n"
                           "[api]\n"
                           "listen = [::]:8443\n"
                           "certificate = /etc/berth/api.pem\n"
                           "key = /etc/berth/api.key\n"
                           "tokens = /etc/berth/tokens\n"
                           "rate = 7\n"
                           "[location westus]\n"
                           "title = West US\n"
                           "city = Quincy\n"
                           "alternates = westus westeurope\n"
                           "[location westeurope]\n";

static void test_good(void **state)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct dmn_config *c = NULL;

        (void)state;
        assert_int_equal(dmn_config_parse(good, strlen(good), "x.conf", &c, &e), 0);
        assert_string_equal(c->name, "east 1");
        assert_int_equal(c->memory_bytes, UINT64_C(2) << 30);
        assert_int_equal(c->bandwidth_bytes_per_sec, 100000000);
        assert_int_equal(c->dock_again_sec, 2 * 86400);
        assert_int_equal(c->keep_history_sec, 400 * 86400);
        assert_int_equal(c->verify, BTH_VERIFY_READBACK);
        assert_false(c->accept_unshipped);
        assert_int_equal(c->bays.n_bays, 2);
        assert_int_equal(hal_bays_find(&c->bays, "2")->places[0].kind, HAL_PLACE_DIRECTORY);
        assert_string_equal(hal_bays_find(&c->bays, "1")->places[0].value,
                            "pci-0000:00:1f.2-ata-1");
        assert_ptr_equal(dmn_config_account(c, "photos"),
                         dmn_config_account(c, "/subscriptions/x/photos"));
        assert_non_null(dmn_config_account(c, "/Subscriptions/x/PHOTOS"));
        assert_null(dmn_config_account(c, "/subscriptions/y/photos")); /* it has an id of its own */
        assert_null(dmn_config_account(c, "other"));
        assert_null(dmn_config_account(c, "/"));
        assert_string_equal(c->api.listen, "[::]:8443");
        assert_int_equal(c->api.rate, 7);
        assert_int_equal(c->n_locations, 2);
        assert_string_equal(dmn_config_location(c, "West US")->city, "Quincy");
        assert_ptr_equal(dmn_config_location(c, "WESTUS "), dmn_config_location(c, "westus"));
        assert_null(dmn_config_location(c, "westus2"));
        assert_null(dmn_config_location(c, "west"));
        assert_null(dmn_config_location(c, ""));
        assert_string_equal(c->worker, "/usr/libexec/berth/berth-worker");
        (void)dmn_config_free(c);
}

static void test_empty_is_a_station(void **state)
{
        struct dmn_config *c = NULL;

        (void)state;
        assert_int_equal(dmn_config_parse("", 0, "x.conf", &c, NULL), 0);
        assert_int_equal(c->bays.n_bays, 0);
        assert_true(c->accept_unshipped);
        (void)dmn_config_free(c);
}

static void test_complaints(void **state)
{
        static const struct {
                const char *text, *says;
                uint64_t line;
        } bad[] = {
                { "[station]\nnmae = x\n", "no key 'nmae'", 2 },
                { "[statoin]\n", "no section [statoin]", 1 },
                { "[station x]\n", "no section [station]", 1 },
                { "name = x\n", "before the first", 1 },
                { "[station]\nname\n", "neither a [section]", 2 },
                { "[station\n", "not closed", 1 },
                { "[]\n", "named by small letters", 1 },
                { "[station]\nname = a\nname = b\n", "given twice", 3 },
                { "[station]\nmemory = 1\n", "must be 67108864 to", 2 },
                { "[station]\nmemory = lots\n", "a size is expected", 2 },
                { "[station]\nstall = 5 fortnights\n", "a time is expected", 2 },
                { "[station]\naccept_unshipped = maybe\n", "yes or no", 2 },
                { "[station]\nverify = no\n", "full, readback or service", 2 },
                { "[station]\ndefault_disposition = keep\n", "rename, no-overwrite or overwrite",
                  2 },
                { "[station]\nstate_directory = here\n", "a path from the root", 2 },
                { "[station]\ndatabase = mysql://x\n", "is a URL postgresql", 2 },
                { "[station]\ndatabase = postgresql:///x\n[bay 1]\nusb = 1-2\n", "have no bays",
                  2 },
                { "[station]\nname = a\x01\n", "control character", 2 },
                { "[station]\nname = \xff\n", "not UTF-8", 2 },
                { "[bay]\nusb = 1-2\n", "needs a name", 1 },
                { "[bay a/b]\nusb = 1-2\n", "name", 2 },
                { "[bay 1]\n", "has no place", 1 },
                { "\n[bay 1]\n[bay 2]\nusb = 1-2\n", "bay '1' has no place", 2 },
                { "[bay 1]\ndirectory = bays\n", "", 2 },
                { "[bay 1]\nserial = x\n", "id_path, enclosure, usb or directory", 2 },
                { "[bay 1]\nusb = 1-2\n\n[bay 2]\nusb = 1-2\n", "", 5 },
                { "[account a]\ncredential = key\n", "needs credential", 1 },
                { "[account a]\ncredential = s3cret\n", "key, sas, bearer or identity", 2 },
                { "[account a]\ncredential = identity\ncredential_file = /x\n", "identity alone",
                  1 },
                { "[account a]\ncredential = key\ncredential_file = /x\nidentity_client = b\n",
                  "without credential = identity", 1 },
                { "\n[api]\nlisten = [::]:1\ncertificate = /c\nkey = /k\n", "without TLS", 2 },
                { "[api]\nrate = 0\n", "must be 1 to", 2 },
                { "[location a]\nalternates = a b\n", "names 'b'", 1 },
                { "[account a]\ncredential=key\ncredential_file=/k\nendpoint=http://x/a\n",
                  "allow_plain", 1 },
        };

        (void)state;
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                struct bth_error e = BTH_ERROR_INIT;
                struct dmn_config *c = NULL;

                if (dmn_config_parse(bad[i].text, strlen(bad[i].text), "x.conf", &c, &e) >= 0)
                        fail_msg("taken: %s", bad[i].text);
                assert_null(c);
                if (!strstr(e.sentence, bad[i].says) || e.line != bad[i].line ||
                    strcmp(e.object, "x.conf") != 0)
                        fail_msg("%s: %s (line %llu)", bad[i].text, e.sentence,
                                 (unsigned long long)e.line);
        }
}

static void put(const char *path, const char *text)
{
        assert_int_equal(bth_write_file_atomic(path, text, strlen(text), 0600), 0);
}

static void test_drop_ins(void **state)
{
        char folder[] = "/tmp/berth-config-XXXXXX", path[64], in[96], file[160];
        struct bth_error e = BTH_ERROR_INIT;
        struct dmn_config *c = NULL;

        (void)state;
        assert_non_null(mkdtemp(folder));
        snprintf(path, sizeof path, "%s/berthd.conf", folder);
        snprintf(in, sizeof in, "%s.d", path);
        assert_int_equal(dmn_config_load(path, &c, &e), -ENOENT);
        put(path, good);
        assert_int_equal(mkdir(in, 0700), 0);
        snprintf(file, sizeof file, "%s/10-name.conf", in);
        put(file, "[station]\nname = west\n[bay 3]\ndirectory=/b\n");
        snprintf(file, sizeof file, "%s/20-name.conf", in);
        put(file, "[station]\nname = north\n");
        snprintf(file, sizeof file, "%s/30-name.off", in);
        put(file, "nonsense");
        bth_error_clear(&e);
        assert_int_equal(dmn_config_load(path, &c, &e), 0);
        assert_string_equal(c->name, "north");
        assert_non_null(hal_bays_find(&c->bays, "3"));
        assert_int_equal(c->bays.n_bays, 3);
        (void)dmn_config_free(c);
        c = NULL;
        snprintf(file, sizeof file, "%s/40-bad.conf", in);
        put(file, "[station]\n\nno = 1\n");
        assert_int_equal(dmn_config_load(path, &c, &e), -EINVAL);
        assert_string_equal(e.object, file);
        assert_int_equal(e.line, 3);
        for (const char *const *n = (const char *const[]){ "10-name.conf", "20-name.conf",
                                                           "30-name.off", "40-bad.conf", NULL };
             *n; n++) {
                snprintf(file, sizeof file, "%s/%s", in, *n);
                unlink(file);
        }
        rmdir(in);
        unlink(path);
        rmdir(folder);
}

/* A socket that the file names counts always; the usual one only while it is there. */
static void test_worker(void **state)
{
        char folder[] = "/tmp/berth-config-XXXXXX", text[128];
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        struct bth_error e = BTH_ERROR_INIT;
        struct dmn_config *c = NULL;
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        (void)state;
        assert_non_null(mkdtemp(folder));
        snprintf(text, sizeof text, "[station]\nrun_directory = %s\nworker = /w\n", folder);
        assert_int_equal(dmn_config_parse(text, strlen(text), "c", &c, &e), 0);
        assert_string_equal(dmn_config_worker(c), "/w");
        snprintf(address.sun_path, sizeof address.sun_path, "%s/worker.sock", folder);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
        assert_string_equal(dmn_config_worker(c), address.sun_path);
        c = dmn_config_free(c);
        strcat(text, "worker_socket = /s\n");
        assert_int_equal(dmn_config_parse(text, strlen(text), "c", &c, &e), 0);
        assert_string_equal(dmn_config_worker(c), "/s");
        (void)dmn_config_free(c);
        close(fd);
        unlink(address.sun_path);
        rmdir(folder);
}

static void test_udev_rules(void **state)
{
        static const char text[] = "[bay 1]\nid_path = pci-0\n";
        char folder[] = "/tmp/berth-config-XXXXXX", path[64], *rules;
        struct bth_error e = BTH_ERROR_INIT;
        struct dmn_config *c = NULL;
        struct stat st;

        (void)state;
        assert_non_null(mkdtemp(folder));
        snprintf(path, sizeof path, "%s/59.rules", folder);
        assert_int_equal(dmn_config_parse(text, strlen(text), "c", &c, &e), 0);
        assert_int_equal(dmn_udev_rules_write(c, path, &e), 0);
        assert_int_equal(bth_read_file(path, 65536, &rules, NULL), 0);
        assert_non_null(strstr(rules, "ENV{ID_PATH}"));
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0644);
        free(rules);
        unlink(path);
        rmdir(folder);
        assert_int_equal(dmn_udev_rules_write(c, path, &e), -ENOENT);
        assert_string_equal(e.object, path);
        (void)dmn_config_free(c);
}

/* A job service is reached by https, with a token, by a station that has a name. */
static void test_job_service(void **state)
{
        static const struct {
                const char *text, *says;
        } cases[] = {
                { "[station]\nname = a\njob_service = http://x/\njob_service_token = t\n",
                  "is not https" },
                { "[station]\njob_service = https://x/\njob_service_token = t\n", "needs a name" },
                { "[station]\nname = a\njob_service = https://x/\n", "needs job_service_token" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct bth_error e = BTH_ERROR_INIT;
                struct dmn_config *c = NULL;

                assert_int_equal(
                        dmn_config_parse(cases[i].text, strlen(cases[i].text), "t", &c, &e),
                        -EINVAL);
                if (!strstr(e.sentence, cases[i].says))
                        fail_msg("%s", e.sentence);
                assert_true(e.line > 0);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_good),        cmocka_unit_test(test_empty_is_a_station),
                cmocka_unit_test(test_complaints),  cmocka_unit_test(test_drop_ins),
                cmocka_unit_test(test_worker),      cmocka_unit_test(test_udev_rules),
                cmocka_unit_test(test_job_service),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
