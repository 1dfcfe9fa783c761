# Writes to RESULT a source that says which commit SOURCE is at. Run by every build; RESULT changes only where its text does.
# A tarball of `git archive` brings the commit along: git fills in the line of commit.txt (.gitattributes).
cmake_minimum_required(VERSION 3.25)
file(READ ${CMAKE_CURRENT_LIST_DIR}/commit.txt commit)
string(STRIP "${commit}" commit)
if(commit MATCHES "Format")
  set(commit unknown)
  if(EXISTS ${SOURCE}/.git)  # else git would tell the commit of a repository that the tree merely lies in
    execute_process(COMMAND ${CMAKE_COMMAND} -E env GIT_OPTIONAL_LOCKS=0 git describe --always --tags --dirty
      WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(described)
      set(commit ${described})
    endif()
  endif()
endif()
file(CONFIGURE OUTPUT ${RESULT} CONTENT "namespace couplet {
const char* program_commit();
const char* program_commit() {
  return \"${commit}\";
}
}  // namespace couplet
")
