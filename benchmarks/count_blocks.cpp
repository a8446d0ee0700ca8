// count_blocks LOG > COUNTS
//
// Reads the log of an emulated program (qemu-user, QEMU_LOG=exec,nochain,strace,in_asm), which may be a FIFO, and
// counts how often each translation block ran between every first and second call of getppid(), which the program makes
// as marks. For each pair of marks it prints a line "span SYSTEM-CALLS", then one line for each block that ran:
// "EXECUTIONS WORD...", the words being the block's instructions in hexadecimal.
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

struct Block {
  std::string words;
  uint64_t executions = 0;
};

std::vector<Block> blocks;
std::unordered_map<uint64_t, size_t> newest;  // guest address of a block's first instruction -> its place in blocks

// The block that was just translated: it takes the place of an older one of this address that had other instructions.
void keep(uint64_t address, const std::string &words) {
  const auto found = newest.find(address);
  if (found != newest.end() && blocks[found->second].words == words) return;
  newest[address] = blocks.size();
  blocks.push_back({words});
}

void print_span(uint64_t system_calls) {
  std::printf("span %" PRIu64 "\n", system_calls);
  for (Block &block : blocks) {
    if (block.executions) std::printf("%" PRIu64 "%s\n", block.executions, block.words.c_str());
    block.executions = 0;
  }
}

}  // namespace

int main(int argc, char **argv) {
  std::FILE *log = argc == 2 ? std::fopen(argv[1], "r") : nullptr;
  if (!log) return std::fputs("usage: count_blocks LOG, which can be read\n", stderr), 2;
  std::setvbuf(log, nullptr, _IOFBF, 1 << 20);
  char *line = nullptr;
  size_t room = 0;
  bool counting = false, listing = false;
  uint64_t address = 0, system_calls = 0;
  std::string words;
  while (getline(&line, &room, log) > 0) {
    if (std::strncmp(line, "Trace ", 6) == 0) {  // Trace CPU: HOST [CS/ADDRESS/FLAGS/CFLAGS] SYMBOL
      const char *slash = counting ? std::strchr(line, '/') : nullptr;
      if (!slash) continue;
      const auto found = newest.find(std::strtoull(slash + 1, nullptr, 16));
      if (found == newest.end()) return std::fprintf(stderr, "a block that was never listed ran: %s", line), 1;
      ++blocks[found->second].executions;
    } else if (std::strncmp(line, "IN:", 3) == 0) {
      listing = true;
      words.clear();
    } else if (listing && std::strncmp(line, "0x", 2) == 0) {  // ADDRESS:  WORD  assembly
      char *colon = nullptr;
      const uint64_t at = std::strtoull(line, &colon, 16);
      if (words.empty()) address = at;
      words.append(" ").append(colon + 1 + std::strspn(colon + 1, " "), 8);
    } else if (listing) {
      if (!words.empty()) keep(address, words);
      listing = false;
    } else if (std::strstr(line, " getppid()")) {
      if (counting) print_span(system_calls);
      counting = !counting;
      system_calls = 0;
    } else if (counting && std::strchr(line, '(')) {
      ++system_calls;
    }
  }
  if (counting) return std::fputs("the log ends between two marks\n", stderr), 1;
}
