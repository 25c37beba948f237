/* SPDX-License-Identifier: GPL-3.0-or-later */
/* metrics - what goes on at the station as numbers, for Prometheus: GET /metrics.
 *
 * Every metric begins with "berth_"; what they are says the table in metrics.c and their HELP
 * lines, and what to be woken up for docs/berth-alerts.yml. No name of a customer, account or blob
 * is in a label; serial numbers are not either, since they would make a new series for each drive.
 * Source: Prometheus, text format 0.0.4. */
#pragma once

#include "daemon/http.h"
#include "daemon/station.h"

#define DMN_METRICS_PATH "/metrics"

/* Answers the request, which is a GET or HEAD of DMN_METRICS_PATH; later, from the loop. */
void dmn_metrics_answer(struct dmn_station *s, struct dmn_http_request *q);
