/*
 * The load of scripts/bench: many clients of event streams in one thread on epoll, and a model that they can be
 * answered from. It prints one JSON object. scripts/benchmarks/load.py compiles and runs it.
 *
 * Each connection takes the next line of the file --paths, and again and again does this until the time is over:
 *
 *   with --body FILE   the line is a conversation: POST line/messages with that body, then
 *                      GET line/stream?triggerMessageId=<the id in the response>
 *   otherwise          GET line
 *
 *   --port N           the server's, on 127.0.0.1
 *   --connections N    how many
 *   --open N           how many are opened in a second
 *   --tokens N         each answer has so many tokens; any other number is an error
 *   --stall N          the first N connections ask, and then never read their stream. They have segments and a receive
 *                      buffer as on a slow network, since the sockets of one machine would take megabytes
 *   --warm S           seconds from the moment when all streams have begun to the beginning of the measurement
 *   --seconds S        how long the measurement takes
 *   --until N          the measurement lasts until so many tokens have come since the start of the program
 *   --fan              one answer for all: when all streams have begun it is started, and the measurement lasts until
 *                      all have its end. --start TARGET: by POST TARGET; otherwise the model stops holding it back.
 *                      --publish: each event is a POST TARGET of its own, --tokens and `done`
 *   --look             when the measurement begins and when it ends, print `look`, and wait for a line: the streams go on
 *   --server PID       a process whose CPU and memory are measured; may be given more than once
 *   --database FOLDER  so are, as the database, the processes whose current folder is this one
 *   --model FD         answer OpenAI's chat completions on this listening socket: --model-tokens N tokens,
 *                      one every --model-pace S seconds; 0: as fast as they are taken. --model-stays: it does not end.
 *                      The answers' tokens are spread evenly over the pace; with --model-together all come at once
 *
 * It never sleeps while it measures: in a virtual machine, a sleeping client would make each send of the server pay for
 * waking a core.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_PIDS 512
#define MAX_EVENTS 256
#define OPENING_AT_ONCE 256
#define MODEL_SENDS_AT_ONCE 64
#define MODEL_TOKENS_AT_ONCE 32
#define MODEL_RETRY_NS 1000000ull
#define LONGEST_OPENING_NS 180000000000ull
#define LONGEST_WAIT_NS 180000000000ull
#define STALLED_SEGMENT 1400
#define STALLED_BUFFER 4096

typedef uint64_t u64;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static u64 now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (u64)time.tv_sec * 1000000000ull + (u64)time.tv_nsec;
}

/* --- quantiles: counts in buckets whose bounds differ by 1.6 % --------------------------------------------------- */

#define BUCKETS (64 * 64)

struct times {
    u64 counts[BUCKETS];
    u64 count, greatest;
};

static void add_time(struct times *times, u64 ns) {
    unsigned bucket = (unsigned)ns;
    if (ns >= 64) {
        unsigned exponent = 63 - (unsigned)__builtin_clzll(ns);
        bucket = (exponent - 5) * 64 + ((ns >> (exponent - 6)) & 63);
    }
    times->counts[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    times->count++;
    if (ns > times->greatest) times->greatest = ns;
}

static double quantile_ms(const struct times *times, double share) {
    u64 wanted = (u64)(share * (double)times->count), below = 0;
    if (!times->count) return 0;
    if (wanted >= times->count) wanted = times->count - 1;
    for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
        below += times->counts[bucket];
        if (below > wanted)
            return (double)(bucket < 64 ? bucket : (64ull + (bucket & 63)) << (bucket / 64 - 1)) / 1e6;
    }
    return (double)times->greatest / 1e6;
}

/* --- what the processes have used -------------------------------------------------------------------------------- */

static int servers[MAX_PIDS], server_count;

/* The CPU clocks of these processes; threads that have ended count, too. */
static double cpu_seconds(const int *pids, int count) {
    double seconds = 0;
    for (int i = 0; i < count; i++) {
        clockid_t clock;
        struct timespec time;
        if (clock_getcpuclockid(pids[i], &clock) || clock_gettime(clock, &time)) continue;
        seconds += (double)time.tv_sec + (double)time.tv_nsec / 1e9;
    }
    return seconds;
}

static double resident_kib(void) {
    double pages = 0;
    for (int i = 0; i < server_count; i++) {
        char path[64];
        long all, resident;
        snprintf(path, sizeof path, "/proc/%d/statm", servers[i]);
        FILE *file = fopen(path, "r");
        if (!file) continue;
        if (fscanf(file, "%ld %ld", &all, &resident) == 2) pages += (double)resident;
        fclose(file);
    }
    return pages * (double)sysconf(_SC_PAGESIZE) / 1024;
}

/* PostgreSQL's processes run in their data directory. Those that end hand their time over to their parent. */
static double database_seconds(const char *folder) {
    int pids[MAX_PIDS], count = 0;
    double ended = 0;
    DIR *processes = opendir("/proc");
    for (struct dirent *process; processes && (process = readdir(processes));) {
        char path[64], text[4096];
        unsigned long user, system;
        int pid = atoi(process->d_name);
        if (!pid || count == MAX_PIDS) continue;
        snprintf(path, sizeof path, "/proc/%d/cwd", pid);
        ssize_t length = readlink(path, text, sizeof text - 1);
        if (length < 0) continue;
        text[length] = 0;
        if (strcmp(text, folder)) continue;
        pids[count++] = pid;
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *file = fopen(path, "r");
        if (!file) continue;
        char *name_end = fgets(text, sizeof text, file) ? strrchr(text, ')') : NULL;
        fclose(file);
        if (name_end && sscanf(name_end + 1, " %*c%*s%*s%*s%*s%*s%*s%*s%*s%*s%*s%*s%*s %lu %lu", &user, &system) == 2)
            ended += (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    }
    if (processes) closedir(processes);
    return cpu_seconds(pids, count) + ended;
}

/* --- options and counts ------------------------------------------------------------------------------------------ */

static struct sockaddr_in address;
static int connection_count = 1, expected_tokens, stalled_count, fan, publishing, published, looking;
static double open_rate = 5000, warm_seconds = 0.5, measured_seconds = 3;
static const char *body, *start_target, *database_folder;
static char **paths;
static int path_count;

static int poller, measuring;
static u64 begun, failures, turns, tokens, all_tokens, awaited_tokens, comments, finished, last_token_ns;
static struct times first_token, gap, delay, post;

static void count_failure(const char *format, ...) {
    va_list arguments;
    if (failures++ >= 3) return;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

static void watch(int fd, uint32_t events, void *owner, int operation) {
    struct epoll_event event = {.events = events, .data.ptr = owner};
    if (epoll_ctl(poller, operation, fd, &event)) fail("epoll_ctl: %s", strerror(errno));
}

/* --- the model --------------------------------------------------------------------------------------------------- */

/* What epoll hands back begins with its kind. */
enum kind { CLIENT, LISTENER, MODEL };

struct answer {
    enum kind kind;
    int fd, head_length, complete, left, ended, queued, pending_length, pending_sent;
    long body_left;
    u64 due_ns;
    char head[8192], pending[16384];
};

#define QUEUE (1 << 16)

static struct { enum kind kind; int fd; } listener = {LISTENER, -1};
static int model_tokens = 1, model_holds, model_stays, model_together;
static u64 model_pace_ns, model_answers;
/* In the order in which they are due. All have the same pace, so the one whose token was sent last is due last. */
static struct answer *queue[QUEUE];
static unsigned queue_head, queue_tail;

static int put_chunk(char *to, const char *data, int length) {
    return sprintf(to, "%x\r\n%.*s\r\n", length, length, data);
}

static int put_token(char *to, const char *content) {
    char data[512];
    int length = snprintf(data, sizeof data,
        "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1767225600,"
        "\"model\":\"stand-in\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"},\"finish_reason\":null}]}\n\n",
        content);
    return put_chunk(to, data, length);
}

static int put_end(char *to) {
    static const char end[] =
        "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1767225600,"
        "\"model\":\"stand-in\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
        "data: [DONE]\n\n";
    int length = put_chunk(to, end, sizeof end - 1);
    return length + sprintf(to + length, "0\r\n\r\n");
}

/* Send what is pending. Returns whether nothing is left. */
static int model_send(struct answer *answer) {
    while (answer->pending_sent < answer->pending_length) {
        ssize_t taken = send(answer->fd, answer->pending + answer->pending_sent,
            (size_t)(answer->pending_length - answer->pending_sent), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (taken < 0 && errno == EAGAIN) return 0;
        if (taken < 0) break; /* the reader left; the socket will say so */
        answer->pending_sent += (int)taken;
    }
    answer->pending_length = answer->pending_sent = 0;
    return 1;
}

static void enqueue(struct answer *answer) {
    if (queue_tail - queue_head == QUEUE) fail("too many answers at once");
    answer->queued = 1;
    unsigned at = queue_tail++;
    for (; at != queue_head && queue[(at - 1) % QUEUE]->due_ns > answer->due_ns; at--)
        queue[at % QUEUE] = queue[(at - 1) % QUEUE];
    queue[at % QUEUE] = answer;
}

/* When the first token of the next answer is due, at the earliest now. */
static u64 first_due_ns(void) {
    u64 now = now_ns();
    if (!model_pace_ns) return now;
    /* Multiples of the golden ratio lie evenly, however many there are. */
    double share = model_together ? 0 : 0.6180339887498949 * (double)model_answers++;
    u64 phase = (u64)((share - (double)(u64)share) * (double)model_pace_ns);
    return now + (phase + model_pace_ns - now % model_pace_ns) % model_pace_ns;
}

static void model_begin(struct answer *answer) {
    answer->pending_length = sprintf(answer->pending,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    model_send(answer);
    answer->left = model_tokens;
    answer->ended = 0;
    answer->due_ns = first_due_ns();
    enqueue(answer);
}

/* Put what is to be sent next into `pending`. */
static void model_put_next(struct answer *answer, u64 now) {
    char content[32];
    int count = model_pace_ns ? 1 : MODEL_TOKENS_AT_ONCE;
    if (!answer->left) {
        answer->pending_length = put_end(answer->pending);
        answer->ended = 1;
        return;
    }
    for (; count && answer->left; count--, answer->left--) {
        if (model_pace_ns) snprintf(content, sizeof content, "%llu ", (unsigned long long)now_ns());
        else strcpy(content, (model_tokens - answer->left) % 2 ? " " : "word");
        answer->pending_length += put_token(answer->pending + answer->pending_length, content);
    }
    /* What a slow server did not take in time is not sent faster later. */
    answer->due_ns = (answer->due_ns + model_pace_ns < now ? now : answer->due_ns) + model_pace_ns;
}

/* Send the tokens that are due. Returns whether there were any. */
static int model_run(void) {
    u64 now = now_ns();
    int sent = 0;
    for (; !model_holds && queue_head != queue_tail && sent < MODEL_SENDS_AT_ONCE; sent++) {
        struct answer *answer = queue[queue_head % QUEUE];
        if (answer->fd >= 0 && answer->due_ns > now) break;
        queue_head++;
        answer->queued = 0;
        if (answer->fd < 0) {
            free(answer);
            continue;
        }
        if (model_send(answer) && !answer->ended && (answer->left || !model_stays)) {
            model_put_next(answer, now);
            model_send(answer);
        }
        if (answer->pending_length) answer->due_ns = now + MODEL_RETRY_NS;
        if (answer->pending_length || (!answer->ended && (answer->left || !model_stays))) enqueue(answer);
    }
    return sent;
}

static void model_accept(void) {
    int fd, on = 1;
    while ((fd = accept4(listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct answer *answer = calloc(1, sizeof *answer);
        if (!answer) fail("no memory");
        answer->kind = MODEL;
        answer->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(fd, EPOLLIN, answer, EPOLL_CTL_ADD);
    }
}

static void model_read(struct answer *answer) {
    char data[16384];
    ssize_t length = recv(answer->fd, data, sizeof data, 0);
    if (length < 0 && errno == EAGAIN) return;
    if (length <= 0) {
        close(answer->fd);
        answer->fd = -1;
        if (!answer->queued) free(answer);
        return;
    }
    if (!answer->complete) {
        int room = (int)sizeof answer->head - 1 - answer->head_length;
        int taken = length < room ? (int)length : room;
        memcpy(answer->head + answer->head_length, data, (size_t)taken);
        answer->head_length += taken;
        answer->head[answer->head_length] = 0;
        char *end = strstr(answer->head, "\r\n\r\n");
        if (!end) return;
        char *declared = strcasestr(answer->head, "\r\ncontent-length:");
        answer->body_left = declared ? atol(declared + 17) : 0;
        answer->body_left -= answer->head_length - (end + 4 - answer->head) + (length - taken);
        answer->complete = 1;
    } else {
        answer->body_left -= length;
    }
    if (answer->body_left <= 0) {
        answer->complete = answer->head_length = 0;
        model_begin(answer);
    }
}

/* --- the clients ------------------------------------------------------------------------------------------------- */

enum state { CLOSED, CONNECTING, WAITING_FOR_HEAD, IN_BODY, STALLED, IDLE };
enum chunk_state { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, LAST_LINE };

struct client {
    enum kind kind;
    enum state state;
    enum chunk_state chunk_state;
    int fd, index, asking, starting, has_begun, done, chunked, head_length, line_length, id_length, token_count;
    long left; /* of the body, or of the chunk */
    u64 sent_ns, asked_ns, last_ns;
    char head[2048], line[256], id[64], received[512];
    int received_length;
};

static struct client *clients, starter;

static const char *path_of(const struct client *client) { return paths[client->index % path_count]; }

static void close_client(struct client *client) {
    if (client->fd >= 0) close(client->fd);
    client->fd = -1;
    client->state = CLOSED;
}

static void begin(struct client *client) {
    if (client->has_begun) return;
    client->has_begun = 1;
    begun++;
}

/* What the next POST of the starter says. */
static const char *published_event(void) {
    if (!publishing) return "{}";
    if (published++ == expected_tokens) return "{\"type\":\"done\",\"messageId\":\"1\"}";
    return published % 2 ? "{\"type\":\"token\",\"content\":\"word\"}" : "{\"type\":\"token\",\"content\":\" \"}";
}

static void send_request(struct client *client) {
    static char *request;
    static size_t room;
    if (!room) room = 4096 + (body ? strlen(body) : 0), request = malloc(room);
    int length, posting = client->starting || client->asking;
    client->head_length = client->line_length = client->received_length = client->token_count = client->done = 0;
    if (posting) {
        const char *sent = client->starting ? published_event() : body;
        char target[512];
        if (client->starting) snprintf(target, sizeof target, "%s", start_target);
        else snprintf(target, sizeof target, "%s/messages", path_of(client));
        length = snprintf(request, room,
            "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
            target, strlen(sent), sent);
    } else if (body) {
        length = snprintf(request, room,
            "GET %s/stream?triggerMessageId=%s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n",
            path_of(client), client->id);
    } else {
        length = snprintf(request, room, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n",
            path_of(client));
    }
    client->sent_ns = now_ns();
    client->state = WAITING_FOR_HEAD;
    /* A short request always fits into an empty socket; a long one is sent in pieces, before anything else goes on. */
    for (int sent = 0; sent < length;) {
        ssize_t taken = send(client->fd, request + sent, (size_t)(length - sent), MSG_NOSIGNAL);
        if (taken > 0) {
            sent += (int)taken;
        } else if (errno != EAGAIN) {
            count_failure("sending a request: %s", strerror(errno));
            close_client(client);
            return;
        }
    }
    if (!posting && client->index < stalled_count) {
        client->state = STALLED;
        watch(client->fd, 0, client, EPOLL_CTL_MOD);
        begin(client);
    }
}

static void open_client(struct client *client) {
    int on = 1;
    client->kind = CLIENT;
    client->asking = body != NULL;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0) fail("socket: %s", strerror(errno));
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (client->index < stalled_count) {
        int segment = STALLED_SEGMENT, buffer = STALLED_BUFFER;
        setsockopt(client->fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
        setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    }
    client->state = CONNECTING;
    if (connect(client->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    watch(client->fd, EPOLLOUT, client, EPOLL_CTL_ADD);
}

static void token(struct client *client, const char *content, u64 now) {
    last_token_ns = now;
    all_tokens++;
    if (measuring) {
        tokens++;
        if (client->token_count) add_time(&gap, now - client->last_ns);
        else if (body) add_time(&first_token, now - client->asked_ns);
        /* A token of the model begins with the time at which it was sent. */
        if (content[0] >= '1' && content[0] <= '9') {
            u64 stamp = strtoull(content, NULL, 10);
            if (stamp < now) add_time(&delay, now - stamp);
        }
    }
    client->token_count++;
    client->last_ns = now;
}

static void line(struct client *client, const char *text, long length, u64 now) {
    static const char token_start[] = "data: {\"type\":\"token\",\"content\":\"";
    static const char done_start[] = "data: {\"type\":\"done\"";
    if (length && text[length - 1] == '\r') length--;
    if (length >= (long)sizeof token_start && !memcmp(text, token_start, sizeof token_start - 1)) {
        token(client, text + sizeof token_start - 1, now);
    } else if (length > (long)sizeof done_start && !memcmp(text, done_start, sizeof done_start - 1)) {
        client->done = 1;
        if (publishing) finished++; /* such a stream goes on */
    } else if (length && text[0] == ':') {
        if (measuring) comments++;
    } else if (length > 5 && !memcmp(text, "data:", 5)) {
        count_failure("an unexpected event: %.*s", (int)length, text);
    }
}

static void payload(struct client *client, const char *data, long length, u64 now) {
    if (client->asking || client->starting) {
        int room = (int)sizeof client->received - 1 - client->received_length;
        int taken = length < room ? (int)length : room;
        memcpy(client->received + client->received_length, data, (size_t)taken);
        client->received_length += taken;
        return;
    }
    begin(client);
    while (length) {
        const char *end = memchr(data, '\n', (size_t)length);
        long piece = end ? end - data : length;
        if (end && !client->line_length) {
            line(client, data, piece, now);
        } else {
            /* Only the beginning of a line is looked at. */
            long room = (long)sizeof client->line - 1 - client->line_length, taken = piece < room ? piece : room;
            memcpy(client->line + client->line_length, data, (size_t)taken);
            client->line_length += (int)taken;
            client->line[client->line_length] = 0;
            if (!end) return;
            line(client, client->line, client->line_length, now);
            client->line_length = 0;
        }
        data += piece + 1;
        length -= piece + 1;
    }
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Returns whether the response is complete. */
static int in_body(struct client *client, const char *data, long length, u64 now) {
    const char *end = data + length;
    if (!client->chunked && client->left < 0) {
        payload(client, data, length, now);
        return 0;
    }
    if (!client->chunked) {
        long taken = length < client->left ? length : client->left;
        payload(client, data, taken, now);
        return !(client->left -= taken);
    }
    while (data < end) {
        if (client->chunk_state == CHUNK_DATA) {
            long taken = end - data < client->left ? end - data : client->left;
            payload(client, data, taken, now);
            data += taken;
            if (!(client->left -= taken)) client->chunk_state = CHUNK_END;
            continue;
        }
        char c = *data++;
        if (client->chunk_state == CHUNK_SIZE) {
            if (c == '\n') client->chunk_state = client->left ? CHUNK_DATA : LAST_LINE;
            else if (hex_digit(c) >= 0) client->left = client->left * 16 + hex_digit(c);
        } else if (c == '\n') {
            if (client->chunk_state == LAST_LINE) return 1;
            client->chunk_state = CHUNK_SIZE;
        }
    }
    return 0;
}

/* Returns how many bytes belong to the head; -1 if the response is not a success. */
static long in_head(struct client *client, const char *data, long length) {
    int before = client->head_length, room = (int)sizeof client->head - 1 - before, status = 0;
    int taken = length < room ? (int)length : room;
    memcpy(client->head + before, data, (size_t)taken);
    client->head_length += taken;
    client->head[client->head_length] = 0;
    char *end = strstr(client->head, "\r\n\r\n");
    if (!end) return length;
    if (sscanf(client->head, "HTTP/1.%*d %d", &status) != 1 || status < 200 || status > 299) {
        count_failure("refused: %s", client->head);
        return -1;
    }
    char *declared = strcasestr(client->head, "\r\ncontent-length:");
    client->chunked = strcasestr(client->head, "\r\ntransfer-encoding: chunked") != NULL;
    /* Without a length, the body ends with the connection. */
    client->left = client->chunked ? 0 : declared ? atol(declared + 17) : -1;
    client->chunk_state = CHUNK_SIZE;
    client->state = IN_BODY;
    return end + 4 - client->head - before;
}

/* The response is complete. */
static void complete(struct client *client, u64 now) {
    client->state = IDLE;
    if (client->starting) {
        if (publishing && published <= expected_tokens) send_request(client);
        return;
    }
    if (client->asking) {
        client->received[client->received_length] = 0;
        char *id = strstr(client->received, "\"id\":");
        if (!id) fail("no id in %s", client->received);
        id += strspn(id + 5, " \"") + 5;
        snprintf(client->id, sizeof client->id, "%.*s", (int)strcspn(id, "\""), id);
        if (measuring) add_time(&post, now - client->sent_ns);
        client->asking = 0;
        client->asked_ns = now;
        send_request(client);
        return;
    }
    if (!client->done) count_failure("a stream ended without `done`");
    if (expected_tokens && client->token_count != expected_tokens)
        count_failure("%d tokens for %d", client->token_count, expected_tokens);
    if (measuring) turns++;
    finished++;
    client->asking = body != NULL;
    if (!fan) send_request(client);
}

static void read_client(struct client *client) {
    static char data[1 << 18];
    ssize_t length = recv(client->fd, data, sizeof data, 0);
    if (length < 0 && errno == EAGAIN) return;
    u64 now = now_ns();
    if (length <= 0) {
        if (client->state != IDLE) count_failure("the server hung up");
        close_client(client);
        return;
    }
    char *at = data;
    if (client->state == WAITING_FOR_HEAD) {
        long taken = in_head(client, at, length);
        if (taken < 0) {
            close_client(client);
            return;
        }
        at += taken;
        length -= taken;
    }
    if (client->state == IN_BODY && in_body(client, at, length, now)) complete(client, now);
}

/* --- the course of the measurement ------------------------------------------------------------------------------- */

static u64 idle_ns;

/* Do all that is to be done now. */
static void turn(void) {
    static struct epoll_event events[MAX_EVENTS];
    u64 before = now_ns();
    int count = epoll_wait(poller, events, MAX_EVENTS, 0);
    for (int i = 0; i < count; i++) {
        void *owner = events[i].data.ptr;
        enum kind kind = *(enum kind *)owner;
        struct client *client = owner;
        if (kind == LISTENER) {
            model_accept();
        } else if (kind == MODEL) {
            model_read(owner);
        } else if (client->state == CONNECTING) {
            int error = 0;
            socklen_t size = sizeof error;
            getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
            if (error) fail("connect: %s", strerror(error));
            watch(client->fd, EPOLLIN, client, EPOLL_CTL_MOD);
            send_request(client);
        } else if (client->state == STALLED) {
            count_failure("the server hung up on a reader that stalled");
            close_client(client);
        } else if (client->fd >= 0) {
            read_client(client);
        }
    }
    int sent = queue_head != queue_tail && model_run();
    if (!count && !sent) idle_ns += now_ns() - before;
}

static void turn_for(double seconds) {
    u64 end = now_ns() + (u64)(seconds * 1e9);
    while (now_ns() < end) turn();
}

static void turn_until_tokens(void) {
    u64 end = now_ns() + LONGEST_WAIT_NS;
    while (all_tokens < awaited_tokens && now_ns() < end) turn();
    if (all_tokens < awaited_tokens) fail("only %llu tokens have come", (unsigned long long)all_tokens);
}

/* Let the caller look at the server. The streams go on. */
static void let_look(void) {
    char line;
    if (!looking) return;
    printf("look\n");
    fflush(stdout);
    for (ssize_t length; (length = read(STDIN_FILENO, &line, 1)) != 1; turn())
        if (!length) fail("the caller has left");
}

static void open_all(void) {
    u64 start = now_ns();
    for (u64 opened = 0, now = start; begun < (u64)connection_count; now = now_ns()) {
        u64 target = (u64)((double)(now - start) / 1e9 * open_rate) + 1;
        while (opened < target && opened < (u64)connection_count && opened < begun + OPENING_AT_ONCE)
            open_client(&clients[opened++]);
        turn();
        if (failures) exit(1);
        if (now - start > LONGEST_OPENING_NS) fail("only %llu streams have begun", (unsigned long long)begun);
    }
}

static void fan_out(void) {
    u64 end = now_ns() + LONGEST_WAIT_NS;
    finished = 0;
    if (start_target) {
        starter.starting = 1;
        starter.index = connection_count;
        open_client(&starter);
    }
    model_holds = 0;
    while (finished < (u64)connection_count) {
        turn();
        if (failures) exit(1);
        if (now_ns() > end) fail("only %llu readers have all", (unsigned long long)finished);
    }
}

/* --- options and output ------------------------------------------------------------------------------------------ */

static char *contents(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) fail("%s: %s", path, strerror(errno));
    fseek(file, 0, SEEK_END);
    long length = ftell(file);
    rewind(file);
    char *text = calloc(1, (size_t)length + 1);
    if (!text || fread(text, 1, (size_t)length, file) != (size_t)length) fail("%s cannot be read", path);
    fclose(file);
    return text;
}

static void set_paths(char *text) {
    for (char *path = strtok(text, "\n"); path; path = strtok(NULL, "\n")) {
        paths = realloc(paths, (size_t)(path_count + 1) * sizeof *paths);
        paths[path_count++] = path;
    }
    if (!path_count) fail("there are no paths");
}

enum setting {
    PORT, CONNECTIONS, OPEN, TOKENS, STALL, WARM, SECONDS, UNTIL, FAN, START, PUBLISH, LOOK, SERVER, DATABASE, PATHS,
    BODY, MODEL_FD, MODEL_TOKENS, MODEL_PACE, MODEL_STAYS, MODEL_TOGETHER
};

static void set_option(enum setting setting, char *value) {
    switch (setting) {
    case PORT: address.sin_port = htons((uint16_t)atoi(value)); break;
    case CONNECTIONS: connection_count = atoi(value); break;
    case OPEN: open_rate = atof(value); break;
    case TOKENS: expected_tokens = atoi(value); break;
    case STALL: stalled_count = atoi(value); break;
    case WARM: warm_seconds = atof(value); break;
    case SECONDS: measured_seconds = atof(value); break;
    case UNTIL: awaited_tokens = strtoull(value, NULL, 10); break;
    case FAN: fan = 1; break;
    case START: start_target = value; break;
    case PUBLISH: publishing = 1; break;
    case LOOK: looking = 1; break;
    case SERVER: if (server_count < MAX_PIDS) servers[server_count++] = atoi(value); break;
    case DATABASE: database_folder = value; break;
    case PATHS: set_paths(contents(value)); break;
    case BODY: body = contents(value); break;
    case MODEL_FD: listener.fd = atoi(value); break;
    case MODEL_TOKENS: model_tokens = atoi(value); break;
    case MODEL_PACE: model_pace_ns = (u64)(atof(value) * 1e9); break;
    case MODEL_STAYS: model_stays = 1; break;
    case MODEL_TOGETHER: model_together = 1; break;
    }
}

static void read_options(int count, char **values) {
    static const struct option known[] = {
        {"port", 1, 0, PORT}, {"connections", 1, 0, CONNECTIONS}, {"open", 1, 0, OPEN}, {"tokens", 1, 0, TOKENS},
        {"stall", 1, 0, STALL}, {"warm", 1, 0, WARM}, {"seconds", 1, 0, SECONDS}, {"until", 1, 0, UNTIL},
        {"fan", 0, 0, FAN}, {"start", 1, 0, START}, {"publish", 0, 0, PUBLISH}, {"look", 0, 0, LOOK},
        {"server", 1, 0, SERVER}, {"database", 1, 0, DATABASE}, {"paths", 1, 0, PATHS}, {"body", 1, 0, BODY}, {"model", 1, 0, MODEL_FD},
        {"model-tokens", 1, 0, MODEL_TOKENS}, {"model-pace", 1, 0, MODEL_PACE}, {"model-stays", 0, 0, MODEL_STAYS},
        {"model-together", 0, 0, MODEL_TOGETHER}, {0, 0, 0, 0}};
    for (int option; (option = getopt_long(count, values, "", known, NULL)) != -1;) {
        if (option == '?') exit(2);
        set_option((enum setting)option, optarg);
    }
}

static void print_times(const char *name, const struct times *times) {
    printf(",\"%s_ms\":{\"p50\":%.4f,\"p99\":%.4f,\"max\":%.4f}", name, quantile_ms(times, 0.5),
        quantile_ms(times, 0.99), (double)times->greatest / 1e6);
}

int main(int count, char **values) {
    struct rlimit files;
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    read_options(count, values);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    poller = epoll_create1(EPOLL_CLOEXEC);
    clients = calloc((size_t)connection_count, sizeof *clients);
    if (!clients) fail("no memory");
    for (int i = 0; i < connection_count; i++) clients[i].index = i, clients[i].fd = -1;
    if (listener.fd >= 0) {
        model_holds = fan;
        watch(listener.fd, EPOLLIN, &listener, EPOLL_CTL_ADD);
    }

    double resident_before = resident_kib();
    open_all();
    turn_for(warm_seconds);
    if (looking) fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    let_look();

    double resident_begin = resident_kib();
    double database = database_folder ? database_seconds(database_folder) : 0;
    double server = cpu_seconds(servers, server_count);
    u64 start = now_ns();
    measuring = 1;
    idle_ns = 0;
    if (fan) fan_out();
    else if (awaited_tokens) turn_until_tokens();
    else turn_for(measured_seconds);
    measuring = 0;
    /* Beside readers that stall, a silence that has not ended counts as a gap. */
    for (int i = stalled_count; stalled_count && i < connection_count; i++)
        add_time(&gap, now_ns() - (clients[i].last_ns > start ? clients[i].last_ns : start));
    double seconds = (double)(now_ns() - start) / 1e9, idle = (double)idle_ns / 1e9;
    server = cpu_seconds(servers, server_count) - server;
    database = database_folder ? database_seconds(database_folder) - database : 0;
    double resident_end = resident_kib();
    let_look();

    printf("{\"seconds\":%.6f,\"turns\":%llu,\"tokens\":%llu,\"comments\":%llu,\"failures\":%llu", seconds,
        (unsigned long long)turns, (unsigned long long)tokens, (unsigned long long)comments,
        (unsigned long long)failures);
    printf(",\"server_seconds\":%.6f,\"database_seconds\":%.6f,\"busy\":%.4f", server, database, 1 - idle / seconds);
    printf(",\"fan_seconds\":%.6f", last_token_ns > start ? (double)(last_token_ns - start) / 1e9 : 0);
    printf(",\"before_kib\":%.0f,\"begin_kib\":%.0f,\"end_kib\":%.0f", resident_before, resident_begin, resident_end);
    print_times("post", &post);
    print_times("first_token", &first_token);
    print_times("gap", &gap);
    print_times("delay", &delay);
    printf("}\n");
    return failures != 0;
}
