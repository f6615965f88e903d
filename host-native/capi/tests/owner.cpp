// C++ takes the header without a warning, and its owners free what it gives.
#include <cstdio>
#include <memory>
#include <string>
#include <type_traits>

#include <surgetank.h>

using Client = std::unique_ptr<surgetank_client, decltype(&surgetank_free)>;

static_assert(std::is_standard_layout<surgetank_options>::value, "it is C's");

int main() {
    surgetank_options options{};
    options.size = sizeof options;
    options.from_environment = true;
    std::string problem(256, '\0');
    Client client(surgetank_init(&options, &problem[0], problem.size()), surgetank_free);
    if (!client) {
        std::fprintf(stderr, "%s\n", problem.c_str());
        return 1;
    }
    const std::string envelope = "{}\n{\"type\":\"event\"}\n{\"message\":\"from C++\",\"platform\":\"native\"}\n";
    const auto bytes = reinterpret_cast<const std::uint8_t *>(envelope.data());
    if (surgetank_record_envelope(client.get(), bytes, envelope.size()) != SURGETANK_QUEUED) {
        return 2;
    }
    std::string status(surgetank_status(client.get(), nullptr, 0) + 4096, '\0');
    status.resize(surgetank_status(client.get(), &status[0], status.size()));
    std::printf("%s\n", status.c_str());
    surgetank_left left{};
    return surgetank_close(client.get(), 60000, &left) ? 0 : 3;
}
