#!/bin/bash
# @TITLE@
# Written by `couplet submit` from slurm/job.sh; submitting again writes it anew. What it may ask Slurm for and when it
# lets itself be queued again stands in the cluster profile (docs/slurm.md).
@SBATCH@
#SBATCH --requeue
#SBATCH --open-mode=append

stage=@STAGE@
flat=@FLAT@  # the stage in names of files
run=@RUN@
tasks=@TASKS@  # of the array that shares the stage; empty: one job
cluster_requeues=@CLUSTER_REQUEUES@
max_requeues=@MAX_REQUEUES@
max_retries=@MAX_RETRIES@
modules=(@MODULES@)
memory=@MEMORY@  # a node; empty: not asked for

# Who this job is: one task of an array has a name and files of its own, and is queued again alone.
name=$flat
job=$SLURM_JOB_ID
if [[ -n ${SLURM_ARRAY_TASK_ID:-} ]]; then
  name=$flat-$SLURM_ARRAY_TASK_ID
  job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
fi
files=$run/slurm/$name
log=$run/log/slurm-$name-${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}.out
note=$files.note  # what the ranks leave about their end: a JSON object a line (pipeline/process/end_note.h)

say() { printf '%(%F %T)T job %s (%s): %s\n' -1 "$job" "$stage" "$*"; }

# The file holds the old text or the new one, never half of it.
publish() { printf '%s\n' "$2" > "$1.$$" && mv -f "$1.$$" "$1"; }

# $1 as a JSON string. Other control characters become spaces; bytes that are no UTF-8 are left to the reader.
json_text() {
  local LC_ALL=C text=$1 backslash='\' newline=$'\n' tab=$'\t'
  text=${text//"$backslash"/"$backslash$backslash"}
  text=${text//'"'/"$backslash"'"'}
  text=${text//"$newline"/"$backslash"n}
  text=${text//"$tab"/"$backslash"t}
  printf '"%s"' "${text//[[:cntrl:]]/ }"
}

# Why it stopped, for `couplet status` (launch/slurm/job_end.h). $1: requeued, retried, failed, cancelled, refused or
# stopped; $2: the reason in words
leave_reason() {
  say "$2"
  local end
  printf -v end '{"time":%(%s)T,"stage":%s,"state":"%s","reason":%s,"log":%s}' \
    -1 "$(json_text "$stage")" "$1" "$(json_text "$2")" "$(json_text "$log")"
  publish "$files.reason" "$end"
}

cancelled() { [[ -e $run/slurm/$flat.cancelled || -e $files.cancelled ]]; }

# What Slurm knows of this job now. state is empty if it does not answer; requeued: it will run again already.
look() {
  local told
  told=$(timeout 20 scontrol --oneliner show job "$job" 2> /dev/null)
  state= why= preempted= requeued=
  [[ $told =~ \ JobState=([^ ]*) ]] && state=${BASH_REMATCH[1]}
  [[ $told =~ \ Reason=([^ ]*) ]] && why=${BASH_REMATCH[1]}
  [[ $told =~ \ PreemptTime=[0-9] ]] && preempted=1
  [[ $told =~ \ Restarts=([0-9]+) ]] && (( BASH_REMATCH[1] > ${SLURM_RESTART_COUNT:-0} )) && requeued=1
}

# Leaves a reason if the job is over, so that nothing may queue it again: Slurm would do even that to a cancelled job.
over() {
  if cancelled; then
    leave_reason cancelled "cancelled"
  elif [[ -n $requeued ]]; then
    leave_reason requeued "ended and queued again by Slurm (preempted, a node that failed, or scontrol requeue)"
  elif [[ $state == COMPLETING && $why == TimeLimit ]]; then
    leave_reason failed "its time limit came before it had saved; raise slurm.signal-lead or slurm.time"
  elif [[ -n $state && $state != RUNNING ]]; then
    leave_reason cancelled "cancelled by scancel ($state)"
  else
    return 1
  fi
}

# On success Slurm ends this script at once: everything else has been done.
queue_again() {
  trap '' USR1 TERM
  local try
  for try in 1 2 3 4 5 6; do
    look
    over && return
    [[ -n $state ]] && timeout 60 scontrol requeue "$job" && return
    sleep "$try"
  done
  leave_reason failed "$1, but Slurm did not queue it again; couplet submit --run-dir $run goes on"
}

# $1: requeued or retried, which are counted apart; $2: why
queue_again_bounded() {
  local so_far=0 counter=requeues bound=$max_requeues
  [[ $1 == retried ]] && counter=retries bound=$max_retries
  [[ -r $files.$counter ]] && read -r so_far < "$files.$counter"
  if (( so_far >= bound )); then
    leave_reason failed "$2; not queued again: slurm.max-$counter = $bound"
    return
  fi
  publish "$files.$counter" $((so_far + 1))
  leave_reason "$1" "$2; queued again ($((so_far + 1)) of $bound, slurm.max-$counter)"
  queue_again "$2"
}

# Preempted, and Slurm queues it again when the grace time is over: a script that ended before would be a failed job.
wait_for_requeue() {
  leave_reason requeued "preempted, the cluster queues it again"
  while [[ -n $preempted && $state == RUNNING ]]; do
    sleep 2
    look
  done
}

# True if a rank has noted this event.
noted() { grep -a -q "^{\"event\":\"$1\"" "$note" 2> /dev/null; }

# What Open MPI says first between two lines of dashes, on one line; empty if it says nothing of the kind.
block_of() {
  awk '/^--------------------/ { if (inside) exit; inside = 1; next } inside { print }' <<< "$1" | tr -s '[:space:]' ' ' |
    sed 's/ $//'
}

# The ranks' message of the failure, else the launcher's words since this start: for people.
failure() {
  local text said
  text=$(grep -a -m 1 '^{"event":"failed",' "$note" 2> /dev/null)
  if [[ $text =~ ,\"message\":\"(.*)\"\}$ ]]; then
    printf '%b\n' "${BASH_REMATCH[1]//'\"'/\\x22}"  # it knows all of JSON's escapes but that of a quote
    return
  fi
  said=$(tail -c "+$((log_start + 1))" "$log" 2> /dev/null | grep -a . | tail -n 60)
  text=$(grep -a -E -v '^mpirun(: Forwarding signal| detected that)' <<< "$said" |
    grep -a -E '^(couplet|srun|slurmstepd|mpirun|prterun|ORTE)|error|signal|Killed' | tail -n 1)
  [[ -n $text ]] || text=$(block_of "$said")
  [[ -n $text ]] || text=$(tail -n 1 <<< "$said")
  echo "${text:-the launcher said nothing}"
}

# Signals that reach this shell: with mpirun the time limit, from scancel SIGTERM too.
child= signal= asked= twice=
on_signal() {
  if [[ -z $signal ]]; then
    signal=$1 asked=$SECONDS
    [[ -z $child ]] || forward &
  elif (( SECONDS - asked > 1 )); then
    twice=1
    kill -USR1 "$child" 2> /dev/null  # the ranks end at once
  fi
}

# Hands the request on as SIGUSR1 (mpirun would kill its ranks two seconds after a SIGTERM) until a rank has noted it:
# one that comes before the ranks are there is lost.
forward() {
  local try
  for try in 1 2 3 4 5 6 7 8 9 10; do
    [[ -s $note ]] && return
    kill -USR1 "$child" 2> /dev/null || return
    sleep 2
  done
}

# `wait` for the launcher itself would end early at each signal, and bash (5.2) forgets a signal that comes together with
# another, as Slurm's SIGCONT and SIGUSR1 do, until the launcher has ended: so look every second.
run_launcher() {
  trap 'on_signal USR1' USR1
  trap 'on_signal TERM' TERM
  "$@" &
  child=$!
  [[ -z $signal ]] || forward &
  while kill -0 "$child" 2> /dev/null; do sleep 1; done
  wait "$child"
  status=$?
}

# What the launcher's end means.
conclude() {
  if (( status == 0 )); then
    if noted done; then
      rm -f "$files.reason" "$note"
      return
    fi
    status=1  # srun says 0, too, where its ranks never started
  fi
  # Of the ranks' lines the first tells: those behind it may come of the launcher ending the other ranks.
  local cause=$signal first
  first=$(head -n 1 "$note" 2> /dev/null)
  [[ -z $cause && $first =~ ^\{\"event\":\"signal\",\"signal\":\"(USR1|TERM)\" ]] && cause=${BASH_REMATCH[1]}
  look
  if over; then
    return
  elif [[ -n $twice ]] || { [[ -n $cause ]] && noted again; }; then
    leave_reason stopped "asked to stop twice; not queued again"
  elif [[ -n $preempted && $cluster_requeues == true ]]; then
    wait_for_requeue
  elif [[ -n $preempted || ( $cause == TERM && ( $status == 75 || $signal == TERM ) ) ]]; then
    if [[ $cluster_requeues == true ]]; then
      leave_reason stopped "stopped by SIGTERM without being preempted; not queued again (slurm.cluster-requeues)"
    else
      queue_again_bounded requeued "stopped by SIGTERM"
    fi
  elif (( status == 75 )); then
    queue_again_bounded requeued "saved and stopped before its time limit"
  elif [[ $cause == USR1 ]] && (( status == 138 )); then  # 128 + SIGUSR1: it came before the ranks were ready for it
    queue_again_bounded requeued "stopped before its time limit, while it started"
  elif (( status == 2 )); then  # refused, and would be again
    leave_reason refused "refused: $(failure)"
  else
    queue_again_bounded retried "failed with status $status: $(failure)"
  fi
}

if cancelled; then
  say "was cancelled: nothing is done"
  exit 1
fi
rm -f "$note"
say "starts on $SLURM_JOB_NODELIST${SLURM_RESTART_COUNT:+, queued again $SLURM_RESTART_COUNT times}"
log_start=$(stat --format=%s "$log" 2> /dev/null)  # what follows is of this start

# Left by a shell that is part of another job and submitted this script by hand: srun would take it for its options, and
# refuses two sizes of memory.
unset "${!SRUN_@}"
[[ -z $memory ]] || unset SLURM_MEM_PER_CPU SLURM_MEM_PER_GPU

if (( ${#modules[@]} )); then
  type module > /dev/null 2>&1 || . /etc/profile
  module load "${modules[@]}"
fi
@ENVIRONMENT@

# These may name variables that the modules, the environment or the commands above have set.
scratch=@SCRATCH@
launch=(@LAUNCH@)
program=(@PROGRAM@)
[[ -n $scratch ]] || [[ -z @SCRATCH_KEY@ ]] || say "slurm.scratch names nothing on this node: tables are not cached"
if (( EUID == 0 )); then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

words=(stage "$stage" --run-dir "$run" --end-note "$note")
[[ -z $scratch ]] || words+=(--storage.cache-dir "$scratch/couplet-cache")
[[ -z $tasks ]] || words+=(--couple.part "$SLURM_ARRAY_TASK_ID/$tasks")
run_launcher "${launch[@]}" "${program[@]}" "${words[@]}"
conclude
exit "$status"
