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
scratch=@SCRATCH@
launch=(@LAUNCH@)
program=(@PROGRAM@)

# Who this job is: one task of an array has a name and files of its own, and is queued again alone.
name=$flat
job=$SLURM_JOB_ID
if [[ -n ${SLURM_ARRAY_TASK_ID:-} ]]; then
  name=$flat-$SLURM_ARRAY_TASK_ID
  job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
fi
files=$run/slurm/$name
log=$run/log/slurm-$name-${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}.out
note=$files.note  # the ranks' own words: a line when asked to stop (USR1, TERM, again) or failing

say() { printf '%(%F %T)T job %s (%s): %s\n' -1 "$job" "$stage" "$*"; }

# The file holds the old text or the new one, never half of it.
publish() { printf '%s\n' "$2" > "$1.$$" && mv -f "$1.$$" "$1"; }

# Why it stopped, in one line, for `couplet status`.
leave_reason() {
  say "$1"
  publish "$files.reason" "$(printf '%(%F %T)T' -1) $stage: $1; log: $log"
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
    leave_reason "cancelled"
  elif [[ -n $requeued ]]; then
    leave_reason "ended and queued again by Slurm (preempted, a node that failed, or scontrol requeue)"
  elif [[ $state == COMPLETING && $why == TimeLimit ]]; then
    leave_reason "its time limit came before it had saved; raise slurm.signal-lead or slurm.time"
  elif [[ -n $state && $state != RUNNING ]]; then
    leave_reason "cancelled by scancel ($state)"
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
  leave_reason "$1, but Slurm did not queue it again; couplet submit --run-dir $run goes on"
}

# $1: counter, $2: its bound, $3: the bound's key, $4: why
queue_again_bounded() {
  local so_far=0
  [[ -r $files.$1 ]] && read -r so_far < "$files.$1"
  if (( so_far >= $2 )); then
    leave_reason "$4; not queued again: $3 = $2"
    return
  fi
  publish "$files.$1" $((so_far + 1))
  leave_reason "$4; queued again ($((so_far + 1)) of $2, $3)"
  queue_again "$4"
}

# Preempted, and Slurm queues it again when the grace time is over: a script that ended before would be a failed job.
wait_for_requeue() {
  leave_reason "preempted, the cluster queues it again"
  while [[ -n $preempted && $state == RUNNING ]]; do
    sleep 2
    look
  done
}

# What the ranks said of the failure, else the last words of the launcher since this start.
failure() {
  local text said
  text=$(grep -m 1 '^failed: ' "$note" 2> /dev/null)
  [[ -n $text ]] && { echo "${text#failed: }"; return; }
  said=$(tac "$log" 2> /dev/null | sed '/^[0-9 :-]* job [^ ]* ([^ ]*): starts on /Q' | grep . | head -n 60)
  text=$(grep -E -m 1 '^(couplet|srun|slurmstepd|mpirun|prterun|ORTE)|error|signal|Killed' <<< "$said")
  [[ -n $text ]] || text=$(head -n 1 <<< "$said")
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
    if grep -qx 'done' "$note" 2> /dev/null; then
      rm -f "$files.reason" "$note"
      return
    fi
    status=1  # srun says 0, too, where its ranks never started
  fi
  # Of the ranks' lines the first tells: those behind it may come of the launcher ending the other ranks.
  local cause=$signal
  [[ -n $cause ]] || cause=$(head -n 1 "$note" 2> /dev/null | grep -x 'USR1\|TERM')
  look
  if over; then
    return
  elif [[ -n $twice ]] || { [[ -n $cause ]] && grep -q '^again' "$note" 2> /dev/null; }; then
    leave_reason "asked to stop twice; not queued again"
  elif [[ -n $preempted && $cluster_requeues == true ]]; then
    wait_for_requeue
  elif [[ -n $preempted || ( $cause == TERM && ( $status == 75 || $signal == TERM ) ) ]]; then
    if [[ $cluster_requeues == true ]]; then
      leave_reason "stopped by SIGTERM without being preempted; not queued again (slurm.cluster-requeues)"
    else
      queue_again_bounded requeues "$max_requeues" slurm.max-requeues "stopped by SIGTERM"
    fi
  elif (( status == 75 )); then
    queue_again_bounded requeues "$max_requeues" slurm.max-requeues "saved and stopped before its time limit"
  elif [[ $cause == USR1 ]] && (( status == 138 )); then  # 128 + SIGUSR1: it came before the ranks were ready for it
    queue_again_bounded requeues "$max_requeues" slurm.max-requeues "stopped before its time limit, while it started"
  elif (( status == 2 )); then  # refused, and would be again
    leave_reason "refused: $(failure)"
  else
    queue_again_bounded retries "$max_retries" slurm.max-retries "failed with status $status: $(failure)"
  fi
}

if cancelled; then
  say "was cancelled: nothing is done"
  exit 1
fi
rm -f "$note"
say "starts on $SLURM_JOB_NODELIST${SLURM_RESTART_COUNT:+, queued again $SLURM_RESTART_COUNT times}"

if (( ${#modules[@]} )); then
  type module > /dev/null 2>&1 || . /etc/profile
  module load "${modules[@]}"
fi
@ENVIRONMENT@
if (( EUID == 0 )); then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

words=(stage "$stage" --run-dir "$run" --end-note "$note")
[[ -z $scratch ]] || words+=(--storage.cache-dir "$scratch/couplet-cache")
[[ -z $tasks ]] || words+=(--couple.part "$SLURM_ARRAY_TASK_ID/$tasks")
run_launcher "${launch[@]}" "${program[@]}" "${words[@]}"
conclude
exit "$status"
