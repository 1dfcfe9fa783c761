# Warnings for our own code only: link couplet_warnings privately.
add_library(couplet_warnings INTERFACE)
target_compile_options(couplet_warnings INTERFACE -Wall -Wextra -Wshadow -Wconversion $<$<BOOL:${COUPLET_WERROR}>:-Werror>)
