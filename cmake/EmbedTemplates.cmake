# Writes OUTPUT, a C++ source that holds the files of DIRECTORY as the templates of stages/report/html/template.h: by
# their names without extension, without the line end at the end of a file.
file(GLOB_RECURSE files ${DIRECTORY}/*.mustache ${DIRECTORY}/*.css)
set(source "#include \"stages/report/html/template.h\"\n\nnamespace couplet {\n\nconst Templates& report_templates() {\n")
string(APPEND source "  static const Templates all{\n")
foreach(file IN LISTS files)
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} text)
  string(REGEX REPLACE "\n$" "" text "${text}")
  string(APPEND source "      {\"${name}\", R\"template(${text})template\"},\n")
endforeach()
string(APPEND source "  };\n  return all;\n}\n\n}  // namespace couplet\n")
file(WRITE ${OUTPUT} "${source}")
