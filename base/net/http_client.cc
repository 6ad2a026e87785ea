// libcurl behind HttpClient. Every call borrows a curl handle with its kept connections from a
// pool; the stop of the caller's group wakes the handle, so that a cancel takes no time.
#include "base/net/http_client.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <curl/curl.h>
#include <mutex>
#include <vector>

#include "base/core/guarded.h"
#include "base/core/runtime.h"
#include "base/core/task_state.h"

namespace thinsnap::net {
namespace {

// One exchange at a time; its kept connections live in the multi handle.
struct Handle {
  CURLM* multi = curl_multi_init();
  CURL* easy = curl_easy_init();

  Handle() { curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 2L); }
  ~Handle() {
    curl_easy_cleanup(easy);
    curl_multi_cleanup(multi);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
};

// What the callbacks of one exchange share.
struct Exchange {
  const HttpRequest& request;
  CURL* easy;
  HttpResponse response;
  Status data_status;
  MonoTime heard;  // when the last bytes of the answer were dealt with
  bool headers_done = false;
  bool too_large = false;
  int attempts = 0;  // how often the request was put on a connection

  bool is_read() const { return request.method == "GET" || request.method == "HEAD"; }
  bool is_streaming() const { return request.on_data && headers_done; }
};

// libcurl repeats a request by itself when a kept connection turns out to be closed. Only the
// caller knows whether that is safe, so a second attempt of anything but a read is refused.
int OnRequest(void* user, char*, char*, int, int) {
  auto* exchange = static_cast<Exchange*>(user);
  return ++exchange->attempts > 1 && !exchange->is_read() ? CURL_PREREQFUNC_ABORT
                                                          : CURL_PREREQFUNC_OK;
}

std::size_t OnHeader(char* data, std::size_t size, std::size_t count, void* user) {
  auto* exchange = static_cast<Exchange*>(user);
  std::string_view line(data, size * count);
  while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
  if (line.starts_with("HTTP/")) {  // after a 100 Continue there is another one
    exchange->response.headers = Headers();
    return size * count;
  }
  if (line.empty()) {
    long status = 0;
    curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
    exchange->response.status = static_cast<int>(status);
    exchange->headers_done = status >= 200 || status == 101;
    exchange->heard = SystemClock().MonoNow();
    return size * count;
  }
  const std::size_t colon = line.find(':');
  if (colon == line.npos) return size * count;
  std::string_view value = line.substr(colon + 1);
  while (value.starts_with(' ') || value.starts_with('\t')) value.remove_prefix(1);
  while (value.ends_with(' ') || value.ends_with('\t')) value.remove_suffix(1);
  if (exchange->headers_done) return size * count;  // trailers
  exchange->response.headers.Add(std::string(line.substr(0, colon)), std::string(value));
  return size * count;
}

std::size_t OnBody(char* data, std::size_t size, std::size_t count, void* user) {
  auto* exchange = static_cast<Exchange*>(user);
  const std::size_t length = size * count;
  const bool good = exchange->response.status >= 200 && exchange->response.status < 300;
  if (exchange->request.on_data && good) {
    exchange->data_status = exchange->request.on_data(AsBytes(std::string_view(data, length)));
    exchange->heard = SystemClock().MonoNow();
    return exchange->data_status.ok() ? length : CURL_WRITEFUNC_ERROR;
  }
  std::string& body = exchange->response.body;
  if (body.size() + length > exchange->request.max_response_bytes) {
    exchange->too_large = true;
    return CURL_WRITEFUNC_ERROR;
  }
  if (body.empty()) {
    curl_off_t announced = 0;
    curl_easy_getinfo(exchange->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
    if (announced > 0) {
      body.reserve(std::min<std::uint64_t>(
          static_cast<std::uint64_t>(announced),
          std::min<std::uint64_t>(exchange->request.max_response_bytes, 64 * kMiB)));
    }
  }
  body.append(data, length);
  return length;
}

bool IsLoopback(const std::string& url) {
  const auto parsed = ParseUrl(url);
  return parsed.ok() && (parsed->host == "localhost" || parsed->host == "[::1]" ||
                         parsed->host.starts_with("127."));
}

// The one variable that libcurl leaves out, since in a CGI program a request could set it. NO_PROXY
// counts for it as for the others.
const char* UpperCaseProxy(const std::string& url) {
  if (!url.starts_with("http://") || std::getenv("http_proxy") != nullptr) return nullptr;
  return std::getenv("HTTP_PROXY");
}

// What could end a header and begin another one.
bool HasControls(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\t') || byte == 0x7F;
  });
}

std::string WithoutQuery(const std::string& url) { return url.substr(0, url.find('?')); }

class CurlHttpClient final : public HttpClient {
 public:
  explicit CurlHttpClient(HttpClientOptions options) : options_(std::move(options)) {
    static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
    ASSERT(ready == CURLE_OK);
  }

  Result<HttpResponse> Do(const HttpRequest& request) override {
    TRY(Runtime::CheckCancelled());
    if (!request.url.starts_with("http://") && !request.url.starts_with("https://")) {
      return Error(Code::kInvalidArgument,
                   "URL \"" + WithoutQuery(request.url) + "\": http:// or https:// is expected");
    }
    for (const auto& [name, value] : request.headers.items()) {
      if (HasControls(name) || HasControls(value)) {
        return Error(Code::kInvalidArgument, "the value of header " + net::UrlEscape(name) +
                                                 " holds a control character, such as a line end");
      }
    }
    std::unique_ptr<Handle> handle = Borrow();
    auto result = Perform(*handle, request);
    curl_easy_reset(handle->easy);
    GiveBack(std::move(handle));
    return result;
  }

 private:
  std::unique_ptr<Handle> Borrow() {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        auto handle = std::move(idle_.back());
        idle_.pop_back();
        return handle;
      }
    }
    return std::make_unique<Handle>();
  }

  void GiveBack(std::unique_ptr<Handle> handle) {
    const std::lock_guard lock(mutex_);
    if (idle_.size() < static_cast<std::size_t>(std::max(options_.max_connections, 1))) {
      idle_.push_back(std::move(handle));
    }
  }

  void SetTrust(CURL* easy) {
    if (options_.insecure) {
      curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
      curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    const auto blob = [easy](CURLoption option, std::string_view text) {
      curl_blob value{
          .data = const_cast<char*>(text.data()), .len = text.size(), .flags = CURL_BLOB_NOCOPY};
      curl_easy_setopt(easy, option, &value);
    };
    if (!options_.ca_pem.empty()) {
      curl_easy_setopt(easy, CURLOPT_CAPATH, nullptr);
      blob(CURLOPT_CAINFO_BLOB, options_.ca_pem);
    }
    if (!options_.client_cert_pem.empty()) {
      curl_easy_setopt(easy, CURLOPT_SSLCERTTYPE, "PEM");
      curl_easy_setopt(easy, CURLOPT_SSLKEYTYPE, "PEM");
      blob(CURLOPT_SSLCERT_BLOB, options_.client_cert_pem);
      blob(CURLOPT_SSLKEY_BLOB, options_.client_key_pem.Reveal());
    }
  }

  static curl_slist* MakeHeaders(const HttpRequest& request) {
    curl_slist* list = curl_slist_append(nullptr, "Expect:");
    if (!request.headers.Has("Content-Type")) list = curl_slist_append(list, "Content-Type:");
    if (!request.headers.Has("Accept")) list = curl_slist_append(list, "Accept: */*");
    for (const auto& [name, value] : request.headers.items()) {
      // "Name;" is libcurl's spelling of a header without a value.
      list = curl_slist_append(list, (value.empty() ? name + ";" : name + ": " + value).c_str());
    }
    return list;
  }

  void SetRequest(CURL* easy, const HttpRequest& request, Exchange& exchange) {
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    // A machine that is gone is noticed after 20 s and nine probes.
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, 20L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, 5L);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, request.on_data ? 16L * 1024 : 64L * 1024);
    // Elsewhere the usual variables of the environment name a proxy; to this machine there is none.
    if (IsLoopback(request.url)) {
      curl_easy_setopt(easy, CURLOPT_PROXY, "");
    } else if (const char* proxy = UpperCaseProxy(request.url)) {
      curl_easy_setopt(easy, CURLOPT_PROXY, proxy);
    }
    if (!options_.unix_socket.empty()) {
      curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, options_.unix_socket.c_str());
    }
    const auto timeout_ms =
        static_cast<long>(std::chrono::ceil<std::chrono::milliseconds>(request.timeout).count());
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, std::min(timeout_ms, 15'000L));
    if (request.method == "HEAD") {
      curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (!request.body.empty() || request.method == "POST" || request.method == "PUT" ||
               request.method == "PATCH") {
      curl_easy_setopt(easy, CURLOPT_POST, 1L);
      curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                       static_cast<curl_off_t>(request.body.size()));
      curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
                       request.body.empty() ? "" : AsText(request.body).data());
    }
    if (request.method != "HEAD")
      curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, &OnRequest);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, &exchange);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &OnHeader);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, &exchange);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &OnBody);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &exchange);
    SetTrust(easy);
  }

  Result<HttpResponse> Perform(Handle& handle, const HttpRequest& request) {
    Exchange exchange{
        .request = request, .easy = handle.easy, .response = {}, .data_status = {}, .heard = {}};
    const std::unique_ptr<curl_slist, void (*)(curl_slist*)> headers(MakeHeaders(request),
                                                                     &curl_slist_free_all);
    char why[CURL_ERROR_SIZE] = "";
    SetRequest(handle.easy, request, exchange);
    curl_easy_setopt(handle.easy, CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(handle.easy, CURLOPT_ERRORBUFFER, why);

    TaskGroup::StopToken wake;
    if (const auto& group = CurrentTaskGroup()) {
      wake = group->AddStopCallback([multi = handle.multi] { curl_multi_wakeup(multi); });
    }
    curl_multi_add_handle(handle.multi, handle.easy);
    const Result<CURLcode> done = Drive(handle, exchange);
    curl_multi_remove_handle(handle.multi, handle.easy);
    wake.reset();
    if (!done.ok()) return done.error().In(request.method + " " + WithoutQuery(request.url));
    if (*done == CURLE_OK) return std::move(exchange.response);
    return Explain(exchange, *done, why).In(request.method + " " + WithoutQuery(request.url));
  }

  // Until the exchange is over, its time is up, or the caller's group is stopped. Whatever keeps
  // acknowledging a connection without a server behind it (a balancer, say) ends here, too.
  static Result<CURLcode> Drive(Handle& handle, const Exchange& exchange) {
    SystemClock clock;
    const MonoTime deadline = clock.MonoNow() + exchange.request.timeout;
    for (;;) {
      int running = 0;
      if (curl_multi_perform(handle.multi, &running) != CURLM_OK)
        return Error(Code::kInternal, "libcurl failed");
      int queued = 0;
      while (const CURLMsg* message = curl_multi_info_read(handle.multi, &queued)) {
        if (message->msg == CURLMSG_DONE) return message->data.result;
      }
      if (running == 0) return Error(Code::kInternal, "libcurl lost the exchange");
      if (Runtime::Cancelled()) return Error(Code::kCancelled, "the task was stopped");
      const MonoTime ends =
          exchange.is_streaming() ? exchange.heard + exchange.request.max_silence : deadline;
      const Duration left = ends - clock.MonoNow();
      if (left <= Duration::zero()) return CURLE_OPERATION_TIMEDOUT;
      const auto wait = std::min<Duration>(left, std::chrono::seconds(30));
      curl_multi_poll(handle.multi, nullptr, 0,
                      static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(wait).count()),
                      nullptr);
    }
  }

  static Error Explain(const Exchange& exchange, CURLcode code, const char* why) {
    if (!exchange.data_status.ok()) return exchange.data_status.error();
    if (exchange.too_large) {
      return Error(Code::kOutOfRange,
                   "the answer is longer than " + FormatSize(exchange.request.max_response_bytes));
    }
    const bool timed_out = code == CURLE_OPERATION_TIMEDOUT;
    std::string message = *why != '\0' ? why : curl_easy_strerror(code);
    // "after 12 ms" is another text at every try, and who compares conditions would see news.
    if (const auto after = message.find(" after "); after != std::string::npos) {
      const auto end = message.find(" ms", after);
      const auto from = after + 7;
      if (end != std::string::npos && end > from &&
          message.find_first_not_of("0123456789", from) == end) {
        message.erase(after, end + 3 - after);
      }
    }
    if (timed_out) {
      message = exchange.is_streaming()
                    ? "nothing came for " + FormatDuration(exchange.request.max_silence)
                    : "no answer within " + FormatDuration(exchange.request.timeout);
    }
    if (exchange.attempts > 0 && !exchange.is_read()) {
      return Error(Code::kUnknownOutcome, "sent, but the answer was lost: " + message);
    }
    return Error(timed_out ? Code::kDeadlineExceeded : Code::kUnavailable, message);
  }

  const HttpClientOptions options_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Handle>> idle_ GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<HttpClient> MakeHttpClient(HttpClientOptions options) {
  return std::make_unique<CurlHttpClient>(std::move(options));
}

}  // namespace thinsnap::net
