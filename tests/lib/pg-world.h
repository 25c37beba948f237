/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pg-world - tests of the store that tests/integration/store-postgres.py runs a second time, with
 * schemas of a PostgreSQL server in the place of files. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include <libpq-fe.h>

#include "base/str.h"

/* The server's URL, or NULL: files. */
static inline const char *pg_server(void)
{
        return getenv("BERTH_TEST_POSTGRESQL");
}

/* One statement; the first number of its answer, or 0. */
static inline uint64_t pg_ask(const char *url, const char *text)
{
        PGconn *c = PQconnectdb(url);
        PGresult *r = PQexec(c, text);
        uint64_t n = 0;

        if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
                fail_msg("%s: %s", text, PQerrorMessage(c));
        if (PQntuples(r) > 0)
                assert_int_equal(bth_parse_u64(PQgetvalue(r, 0, 0), &n), 0);
        PQclear(r);
        PQfinish(c);
        return n;
}

/* The URL of a schema, which is made. */
static inline void pg_url(const char *schema, char *out, size_t n)
{
        char text[256];

        (void)snprintf(text, sizeof text, "CREATE SCHEMA IF NOT EXISTS \"%s\"", schema);
        (void)pg_ask(pg_server(), text);
        (void)snprintf(out, n, "%s&options=-csearch_path%%3D%s", pg_server(), schema);
}

static inline void pg_drop(const char *schema)
{
        char text[256];

        (void)snprintf(text, sizeof text, "DROP SCHEMA IF EXISTS \"%s\" CASCADE", schema);
        (void)pg_ask(pg_server(), text);
}
